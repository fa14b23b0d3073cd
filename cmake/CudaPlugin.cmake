# The CUDA back end: one shared object, loaded at run time by those that want a GPU. Nothing else of the
# build knows CUDA, and the plugin links none of our libraries.
set(CONCLAVE_HAS_CUDA OFF)
if(NOT CONCLAVE_WITH_CUDA STREQUAL "OFF")
  if(NOT CMAKE_CUDA_COMPILER)
    find_program(CONCLAVE_NVCC nvcc HINTS $ENV{CUDA_HOME}/bin /usr/local/cuda/bin)
    if(CONCLAVE_NVCC)
      set(CMAKE_CUDA_COMPILER ${CONCLAVE_NVCC})
    endif()
  endif()
  if(CMAKE_CUDA_COMPILER)
    # wgmma and setmaxnreg need the architecture-specific kind of 9.0, as machine code alone.
    set(CMAKE_CUDA_ARCHITECTURES 90a-real)
    # nvcc takes the compiler that the rest is built with; it knows g++ 12 and clang 19.
    set(CMAKE_CUDA_HOST_COMPILER ${CMAKE_CXX_COMPILER})
    enable_language(CUDA)
    # CMake 3.25 does not know this nvcc's C++20.
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
    set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
    find_package(CUDAToolkit REQUIRED)
    find_path(CONCLAVE_NCCL_INCLUDE nccl.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
  endif()
  if(CMAKE_CUDA_COMPILER AND CONCLAVE_NCCL_INCLUDE)
    set(CONCLAVE_HAS_CUDA ON)
  elseif(CONCLAVE_WITH_CUDA STREQUAL "ON")
    message(FATAL_ERROR "CONCLAVE_WITH_CUDA is ON, but nvcc or nccl.h was not found; set CUDA_HOME, or "
                        "configure with -DCONCLAVE_WITH_CUDA=OFF")
  endif()
endif()
message(STATUS "CUDA back end: ${CONCLAVE_HAS_CUDA}")

# To be called once, after the source folders.
function(conclave_cuda_plugin)
  file(GLOB sources CONFIGURE_DEPENDS
    ${PROJECT_SOURCE_DIR}/kernels/cuda/*.cu ${PROJECT_SOURCE_DIR}/kernels/cuda/*.cc
    ${PROJECT_SOURCE_DIR}/kernels/device/cuda/*.cc
    ${PROJECT_SOURCE_DIR}/comm/nccl/*.cu ${PROJECT_SOURCE_DIR}/comm/nccl/*.cc)
  add_library(conclave_cuda MODULE ${sources})
  target_include_directories(conclave_cuda PRIVATE ${PROJECT_SOURCE_DIR} ${CONCLAVE_NCCL_INCLUDE})
  # As for the rest: no fused multiply-add that the source does not spell out.
  target_compile_options(conclave_cuda PRIVATE
    $<$<COMPILE_LANGUAGE:CUDA>:-fmad=false$<SEMICOLON>-lineinfo>
    $<$<COMPILE_LANGUAGE:CXX>:-Wall$<SEMICOLON>-Wextra$<SEMICOLON>-Wno-unused-parameter>)
  set_target_properties(conclave_cuda PROPERTIES
    PREFIX "" OUTPUT_NAME conclave_cuda CXX_VISIBILITY_PRESET hidden CUDA_VISIBILITY_PRESET hidden
    LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib/conclave
    BUILD_RPATH "$ORIGIN:/usr/local/cuda/lib64" INSTALL_RPATH "$ORIGIN:/usr/local/cuda/lib64")
  target_link_libraries(conclave_cuda PRIVATE CUDA::cudart_static ${CMAKE_DL_LIBS})
  target_link_options(conclave_cuda PRIVATE -Wl,--no-undefined)
  install(TARGETS conclave_cuda LIBRARY DESTINATION lib/conclave)
endfunction()
