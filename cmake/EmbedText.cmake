# conclave_embed(TARGET HEADER NAMESPACE FILE...): generates HEADER (a path as it is included) with one
# `inline constexpr std::string_view k<Name>` a file, Name being the file's name in camel case, and
# lets TARGET include it.
function(conclave_embed target header namespace)
  set(folder ${PROJECT_BINARY_DIR}/generated)
  add_custom_command(OUTPUT ${folder}/${header}
    COMMAND ${CMAKE_COMMAND} "-DOUTPUT=${folder}/${header}" "-DNAMESPACE=${namespace}" "-DFILES=${ARGN}"
            -P ${PROJECT_SOURCE_DIR}/cmake/embed_text.cmake
    DEPENDS ${ARGN} ${PROJECT_SOURCE_DIR}/cmake/embed_text.cmake VERBATIM)
  target_sources(${target} PRIVATE ${folder}/${header})
  target_include_directories(${target} PRIVATE ${folder})
endfunction()
