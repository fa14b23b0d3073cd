# cmake --install: programs, demo model, shapes and documentation under the usual folders.
include(GNUInstallDirs)
# Bundled libraries lie beside the programs. The older kind of run path is the one that the libraries'
# own needs follow as well.
function(conclave_relocatable program to_prefix)
  if(TARGET ${program})
    set_target_properties(${program} PROPERTIES INSTALL_RPATH "$ORIGIN/${to_prefix}/lib/conclave")
    target_link_options(${program} PRIVATE -Wl,--disable-new-dtags)
  endif()
endfunction()
conclave_relocatable(conclave ..)
conclave_relocatable(conclavectl ..)
conclave_relocatable(conclave-worker ../..)
add_custom_target(bundle
  COMMAND ${PROJECT_SOURCE_DIR}/scripts/bundle.sh ${PROJECT_BINARY_DIR} ${PROJECT_BINARY_DIR}/conclave-linux-x86_64.tar.gz
  COMMENT "One tarball that runs on a bare Ubuntu 24.04 host" VERBATIM)
foreach(target conclave conclavectl conclave-worker conclave_cuda)
  if(TARGET ${target})
    add_dependencies(bundle ${target})
  endif()
endforeach()
install(TARGETS conclave conclavectl RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS conclave-worker RUNTIME DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/conclave)
if(TARGET conclave-cbc)
  install(TARGETS conclave-cbc RUNTIME DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/conclave)
endif()
install(DIRECTORY bench/shapes DESTINATION ${CMAKE_INSTALL_DATADIR}/conclave)
install(DIRECTORY assets/demo-moe DESTINATION ${CMAKE_INSTALL_DATADIR}/conclave PATTERN recipe EXCLUDE)
install(FILES README.md CHANGELOG.md LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs DESTINATION ${CMAKE_INSTALL_DOCDIR})
# Manual pages come from the flags of the program that was built.
install(CODE "execute_process(COMMAND \"$<TARGET_FILE:conclavectl>\" man --folder \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_MANDIR}/man1\" OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)")
install(DIRECTORY deploy DESTINATION ${CMAKE_INSTALL_DATADIR}/conclave)
