# cmake/install.cmake: what other projects need to build on terse: library, headers, terseConfig.cmake for
# find_package(terse), terse.pc for pkg-config.
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/terse)
set_target_properties(libterse PROPERTIES EXPORT_NAME terse)
install(TARGETS libterse EXPORT terseTargets)
install(EXPORT terseTargets NAMESPACE terse:: DESTINATION ${package_dir})
install(DIRECTORY include/terse DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")

configure_package_config_file(cmake/terseConfig.cmake.in terseConfig.cmake INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(terseConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/terseConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/terseConfigVersion.cmake
        DESTINATION ${package_dir})

file(RELATIVE_PATH prefix_from_pc /${CMAKE_INSTALL_LIBDIR}/pkgconfig /) # the installed tree may be moved
# Whoever links a static libterse links what it uses, too. That is shared itself: "pkg-config --static" would go on
# to what those libraries were linked with.
set(pc_libs "")
set(pc_private .private)
if(NOT BUILD_SHARED_LIBS)
  set(pc_libs " ${OpenMP_C_FLAGS} -lm")
  set(pc_private "")
endif()
configure_file(cmake/terse.pc.in terse.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/terse.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
