# cmake/arm64.cmake: toolchain file for a build on x86 for 64-bit ARM, with Debian's cross compiler, the libraries
# that cmake/arm64-sysroot.sh puts into build/arm64-root, and tests that run under qemu-user:
#   cmake/arm64-sysroot.sh && cmake --preset arm64 && cmake --build --preset arm64 && ctest --preset arm64
# TERSE_ARM64_ROOT names another folder of libraries. QEMU_CPU in the environment of ctest chooses the processor.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_C_LIBRARY_ARCHITECTURE aarch64-linux-gnu)

if(NOT TERSE_ARM64_ROOT)
  set(TERSE_ARM64_ROOT ${CMAKE_CURRENT_LIST_DIR}/../build/arm64-root)
endif()
get_filename_component(TERSE_ARM64_ROOT ${TERSE_ARM64_ROOT} ABSOLUTE)
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES TERSE_ARM64_ROOT)
if(NOT EXISTS ${TERSE_ARM64_ROOT}/packages)
  message(FATAL_ERROR "no arm64 libraries in ${TERSE_ARM64_ROOT}: run cmake/arm64-sysroot.sh first")
endif()
set(CMAKE_FIND_ROOT_PATH ${TERSE_ARM64_ROOT})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(libraries ${TERSE_ARM64_ROOT}/usr/lib/aarch64-linux-gnu)
set(ENV{PKG_CONFIG_LIBDIR} ${libraries}/pkgconfig)
set(ENV{PKG_CONFIG_SYSROOT_DIR} ${TERSE_ARM64_ROOT})
set(CMAKE_C_STANDARD_INCLUDE_DIRECTORIES ${TERSE_ARM64_ROOT}/usr/include/aarch64-linux-gnu)
set(CMAKE_EXE_LINKER_FLAGS_INIT -Wl,-rpath-link,${libraries}) # what the libraries themselves need
set(CMAKE_SHARED_LINKER_FLAGS_INIT ${CMAKE_EXE_LINKER_FLAGS_INIT})

# The library path keeps an emulated program away from a second C library, where somebody has installed arm64
# packages: its first thread would hang.
set(cross /usr/aarch64-linux-gnu)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64-static -L ${cross}
  -E LD_LIBRARY_PATH=${cross}/lib:${libraries}:${TERSE_ARM64_ROOT}/lib/aarch64-linux-gnu)
