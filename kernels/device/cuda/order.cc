#include "kernels/device/cuda/runtime.h"

namespace conclave::device::cuda {

Status stream_create(Context* context, int32_t high_priority, Stream** out) {
  Status status = check(cudaSetDevice(context->index), "cudaSetDevice");
  if (status != kOk) return status;
  int least = 0;
  int greatest = 0;
  status = check(cudaDeviceGetStreamPriorityRange(&least, &greatest), "stream priorities");
  if (status != kOk) return status;
  cudaStream_t stream = nullptr;
  status = check(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking,
                                              high_priority != 0 ? greatest : least),
                 "cudaStreamCreate");
  *out = reinterpret_cast<Stream*>(stream);
  return status;
}

Status stream_destroy(Context* context, Stream* stream) {
  return check(cudaStreamDestroy(native(stream)), "cudaStreamDestroy");
}

Status stream_synchronize(Context* context, Stream* stream) {
  return check(cudaStreamSynchronize(native(stream)), "waiting for the GPU");
}

Status event_create(Context* context, int32_t timing, Event** out) {
  cudaEvent_t event = nullptr;
  const Status status = check(
      cudaEventCreateWithFlags(&event, timing != 0 ? cudaEventDefault : cudaEventDisableTiming),
      "cudaEventCreate");
  *out = reinterpret_cast<Event*>(event);
  return status;
}

Status event_destroy(Context* context, Event* event) {
  return check(cudaEventDestroy(native(event)), "cudaEventDestroy");
}

Status event_record(Context* context, Stream* stream, Event* event) {
  return check(cudaEventRecord(native(event), native(stream)), "cudaEventRecord");
}

Status event_wait(Context* context, Stream* stream, Event* event) {
  return check(cudaStreamWaitEvent(native(stream), native(event), 0), "cudaStreamWaitEvent");
}

Status event_done(Context* context, Event* event, int32_t* done) {
  const cudaError_t error = cudaEventQuery(native(event));
  *done = error == cudaSuccess ? 1 : 0;
  if (error != cudaErrorNotReady) return check(error, "running the step on the GPU");
  cudaGetLastError();
  return kOk;
}

Status event_elapsed_ms(Context* context, Event* begin, Event* end, float* ms) {
  return check(cudaEventElapsedTime(ms, native(begin), native(end)), "cudaEventElapsedTime");
}

// Thread-local: loader threads may copy while a step is captured.
Status graph_begin(Context* context, Stream* stream) {
  return check(cudaStreamBeginCapture(native(stream), cudaStreamCaptureModeThreadLocal),
               "cudaStreamBeginCapture");
}

Status graph_end(Context* context, Stream* stream, Graph** out) {
  cudaGraph_t graph = nullptr;
  Status status = check(cudaStreamEndCapture(native(stream), &graph), "cudaStreamEndCapture");
  if (status != kOk) return status;
  cudaGraphExec_t executable = nullptr;
  status = check(cudaGraphInstantiate(&executable, graph, 0), "cudaGraphInstantiate");
  cudaGraphDestroy(graph);
  if (status != kOk) return status;
  *out = reinterpret_cast<Graph*>(executable);
  return kOk;
}

Status graph_launch(Context* context, Stream* stream, Graph* graph) {
  return check(cudaGraphLaunch(native(graph), native(stream)), "cudaGraphLaunch");
}

Status graph_destroy(Context* context, Graph* graph) {
  return check(cudaGraphExecDestroy(native(graph)), "cudaGraphExecDestroy");
}

}  // namespace conclave::device::cuda
