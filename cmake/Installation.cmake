# cmake --install: programs, demo model, shapes and documentation under the usual folders.
include(GNUInstallDirs)
install(TARGETS conclave RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS conclave-worker RUNTIME DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/conclave)
install(DIRECTORY bench/shapes DESTINATION ${CMAKE_INSTALL_DATADIR}/conclave)
install(DIRECTORY assets/demo-moe DESTINATION ${CMAKE_INSTALL_DATADIR}/conclave PATTERN recipe EXCLUDE)
install(FILES README.md CHANGELOG.md LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs DESTINATION ${CMAKE_INSTALL_DOCDIR})
