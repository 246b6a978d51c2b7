# tests/install.cmake: installs the build into a folder of its own, then builds and runs a program on it, once by
# find_package and once by pkg-config.   cmake -DBUILD=<build folder> -DWORK=<folder> -DCC=<compiler> -P install.cmake
cmake_minimum_required(VERSION 3.25)

set(dir ${WORK}/install-test)
file(REMOVE_RECURSE ${dir})

function(must)
  execute_process(COMMAND ${ARGN} WORKING_DIRECTORY ${dir} RESULT_VARIABLE rc OUTPUT_VARIABLE said
                  ERROR_VARIABLE said)
  if(NOT rc EQUAL 0)
    list(JOIN ARGN " " line)
    message(FATAL_ERROR "${line}\n${said}")
  endif()
  string(STRIP "${said}" said)
  set(said "${said}" PARENT_SCOPE)
endfunction()

file(WRITE ${dir}/user.c "#include <terse/terse.h>
#include <stdio.h>
int main(void)
{
    terse_gguf *g;
    terse_error err;
    if (terse_gguf_open(&g, \"no such file\", &err) == TERSE_OK)
        return 1;
    return printf(\"terse %s on %d threads\", terse_version(), (int)terse_cpu_threads()) < 0;
}
")
file(WRITE ${dir}/CMakeLists.txt "cmake_minimum_required(VERSION 3.25)
project(user C)
find_package(terse 0.1 REQUIRED)
add_executable(user user.c)
target_link_libraries(user PRIVATE terse::terse)
add_executable(example_attend example_attend.c)
target_link_libraries(example_attend PRIVATE terse::terse m)
")
# The example of the lower half: the package is all that it needs.
file(COPY ${CMAKE_CURRENT_LIST_DIR}/../bench/example_attend.c DESTINATION ${dir})
must(${CMAKE_COMMAND} --install ${BUILD} --prefix ${dir}/prefix)
must(${CMAKE_COMMAND} -S . -B build -DCMAKE_C_COMPILER=${CC} -DCMAKE_PREFIX_PATH=${dir}/prefix)
must(${CMAKE_COMMAND} --build build)
must(./build/user)
if(NOT said MATCHES "^terse [0-9.]+ on [1-9]")
  message(FATAL_ERROR "by find_package: ${said}")
endif()
must(./build/example_attend value-skip:eps=0.2)
set(example "${said}")
if(NOT example MATCHES "rule +value-skip:eps=0.2.*bytes +[1-9].*bound +0\\.[0-9]+, proved")
  message(FATAL_ERROR "the example by find_package: ${example}")
endif()

file(GLOB pc ${dir}/prefix/*/pkgconfig/terse.pc ${dir}/prefix/*/*/pkgconfig/terse.pc)
get_filename_component(pc_dir "${pc}" DIRECTORY)
set(ENV{PKG_CONFIG_PATH} ${pc_dir})
must(pkg-config --cflags --libs terse)
separate_arguments(flags UNIX_COMMAND "${said}")
must(${CC} user.c -o by_pkg_config ${flags})
must(${CC} example_attend.c -o example_by_pkg_config ${flags} -lm)
set(ENV{LD_LIBRARY_PATH} ${pc_dir}/..) # of use to a shared libterse
must(./by_pkg_config)
if(NOT said MATCHES "^terse [0-9.]+ on [1-9]")
  message(FATAL_ERROR "by pkg-config: ${said}")
endif()
must(./example_by_pkg_config value-skip:eps=0.2)
if(NOT said STREQUAL example)
  message(FATAL_ERROR "the example by pkg-config: ${said}")
endif()
file(REMOVE_RECURSE ${dir})
