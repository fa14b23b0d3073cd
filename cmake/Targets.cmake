# How every target of the project is made: one warning set, repository-root includes, no fused
# multiply-add that the source does not spell out (law 1 needs the same rounding everywhere).
add_library(conclave_flags INTERFACE)
target_include_directories(conclave_flags INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(conclave_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wno-unused-parameter -Wno-missing-field-initializers -ffp-contract=off
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict -Wno-array-bounds -Wno-stringop-overflow -Wno-maybe-uninitialized -Wno-psabi>)
if(CONCLAVE_WARNINGS_AS_ERRORS)
  target_compile_options(conclave_flags INTERFACE -Werror)
endif()
if(CONCLAVE_SANITIZER STREQUAL "asan")
  target_compile_options(conclave_flags INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
  target_link_options(conclave_flags INTERFACE -fsanitize=address,undefined)
elseif(CONCLAVE_SANITIZER STREQUAL "tsan")
  target_compile_options(conclave_flags INTERFACE -fsanitize=thread -fno-omit-frame-pointer $<$<CXX_COMPILER_ID:GNU>:-Wno-tsan>)
  target_link_options(conclave_flags INTERFACE -fsanitize=thread)
elseif(NOT CONCLAVE_SANITIZER STREQUAL "")
  message(FATAL_ERROR "CONCLAVE_SANITIZER is '${CONCLAVE_SANITIZER}'; expected asan, tsan or nothing")
endif()

if(CONCLAVE_BUILD_FUZZERS)
  if(NOT CONCLAVE_SANITIZER STREQUAL "asan")
    message(FATAL_ERROR "CONCLAVE_BUILD_FUZZERS wants CONCLAVE_SANITIZER=asan (preset fuzz)")
  endif()
  # Every library, not the entry points alone: a fuzzer learns only from code that counts its branches.
  target_compile_options(conclave_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# conclave_library(NAME SOURCES a.cc b.cc DEPS x y)  ->  target conclave_NAME, alias conclave::NAME
function(conclave_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS;PRIVATE_DEPS" ${ARGN})
  if(ARG_SOURCES)
    add_library(conclave_${name} STATIC ${ARG_SOURCES})
    target_link_libraries(conclave_${name} PUBLIC conclave_flags ${ARG_DEPS} PRIVATE ${ARG_PRIVATE_DEPS})
  else()
    add_library(conclave_${name} INTERFACE)
    target_link_libraries(conclave_${name} INTERFACE conclave_flags ${ARG_DEPS})
  endif()
  add_library(conclave::${name} ALIAS conclave_${name})
endfunction()

# conclave_test(NAME SOURCES a_test.cc DEPS x LABELS unit)  ->  one gtest binary, its cases as ctest entries
function(conclave_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;DEPS;LABELS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  if(NOT ARG_LABELS)
    set(ARG_LABELS unit)
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE conclave_flags ${ARG_DEPS} GTest::gmock GTest::gtest_main)
  # Optimising test bodies costs half of the build and buys nothing.
  target_compile_options(${name} PRIVATE $<$<CONFIG:Release>:-O1>)
  target_compile_definitions(${name} PRIVATE CONCLAVE_SOURCE_DIR="${PROJECT_SOURCE_DIR}"
                             CONCLAVE_BINARY_DIR="${PROJECT_BINARY_DIR}")
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
  add_test(NAME ${name} COMMAND ${name} --gtest_brief=1)
  set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT ${ARG_TIMEOUT})
endfunction()

# conclave_fuzzer(NAME SOURCE x_fuzz.cc CORPUS dir DEPS x): the same entry point twice, as a libFuzzer
# target (CONCLAVE_BUILD_FUZZERS, clang) and as a unit test that runs the corpus.
function(conclave_fuzzer name)
  cmake_parse_arguments(ARG "" "SOURCE;CORPUS" "DEPS" ${ARGN})
  add_executable(${name}_corpus ${ARG_SOURCE} ${PROJECT_SOURCE_DIR}/tests/fuzz/corpus_main.cc)
  target_link_libraries(${name}_corpus PRIVATE conclave_flags ${ARG_DEPS})
  set_target_properties(${name}_corpus PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
  add_test(NAME ${name}_corpus COMMAND ${name}_corpus ${ARG_CORPUS})
  set_tests_properties(${name}_corpus PROPERTIES LABELS "unit;fuzz" TIMEOUT 120)
  if(CONCLAVE_BUILD_FUZZERS)
    add_executable(${name} ${ARG_SOURCE})
    target_link_libraries(${name} PRIVATE conclave_flags ${ARG_DEPS})
    target_compile_options(${name} PRIVATE -fsanitize=fuzzer)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/fuzz)
  endif()
endfunction()
