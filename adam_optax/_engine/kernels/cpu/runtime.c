// Run a loop over a leaf's elements for XLA: the handler behind every custom call on CPUs.
//
// Users have no compiler: runtime.ll is this file as LLVM IR, and machine.py makes it ready. After a
// change here write runtime.ll anew by `python -m tests.support.cpu_runtime` (tests/support/
// cpu_runtime.py says what it wants); a test compares the hash.
//
// Assumed of the platform: little-endian, long and pointers of 64 bits, int and enums of 32, as on
// x86-64 and AArch64, Linux and macOS, for all of which the IR is the same.

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "xla/ffi/api/c_api.h"

// Of the C library, declared here because headers differ between platforms.
void* malloc(size_t size);
void free(void* memory);
int sched_yield(void);
int usleep(unsigned microseconds);
int fegetenv(void* environment);
int fesetenv(const void* environment);

_Static_assert(sizeof(void*) == 8 && sizeof(long) == 8 && sizeof(int) == 4, "not LP64");
_Static_assert(sizeof(XLA_FFI_ExecutionStage) == 4, "short enums");

// Work on the units [begin, end) of a leaf whose rows have so many columns.
typedef void Loop(void* const* scalars, void* const* in, void* const* out, int64_t begin,
                  int64_t end, int64_t columns);

enum {
  GRAIN = 1 << 15,  // elements that a thread takes at once: some 20-100 microseconds of work
  SPINS = 1 << 10,  // looks at the others' progress before the processor is offered to them
  YIELDS = 1 << 7   // offers before sleeping
};

// Rounding and subnormals: glibc's fenv_t has 32 bytes on x86-64, others less.
typedef struct {
  _Alignas(16) char bytes[64];
} Environment;

typedef struct {
  Loop* loop;
  void** pointers;  // of scalars, arrays and results: the caller's, read only while chunks are left
  int64_t scalars, arrays, columns, units, grain, chunks;
  Environment environment;
  _Atomic int64_t next, done, users;
} Work;

// Volatile, so that runtime.ll loads them: a test puts other numbers there.
static const volatile int ffi_major = XLA_FFI_API_MAJOR;
static const volatile int ffi_minor = XLA_FFI_API_MINOR;

static XLA_FFI_Error* refuse(const XLA_FFI_Api* api, const char* message) {
  XLA_FFI_Error_Create_Args args = {XLA_FFI_Error_Create_Args_STRUCT_SIZE, 0, message,
                                    XLA_FFI_Error_Code_INVALID_ARGUMENT};
  return api->XLA_FFI_Error_Create(&args);
}

static int failed(const XLA_FFI_Api* api, XLA_FFI_Error* error) {
  if (!error) return 0;
  XLA_FFI_Error_Destroy_Args args = {XLA_FFI_Error_Destroy_Args_STRUCT_SIZE, 0, error};
  api->XLA_FFI_Error_Destroy(&args);
  return 1;
}

static void work(Work* w) {
  for (;;) {
    const int64_t chunk = atomic_fetch_add_explicit(&w->next, 1, memory_order_relaxed);
    if (chunk >= w->chunks) return;
    const int64_t begin = chunk * w->grain;
    const int64_t end = w->units - begin < w->grain ? w->units : begin + w->grain;
    void** in = w->pointers + w->scalars;
    w->loop(w->pointers, in, in + w->arrays, begin, end, w->columns);
    atomic_fetch_add_explicit(&w->done, 1, memory_order_release);
  }
}

static void leave(Work* w) {
  if (atomic_fetch_sub_explicit(&w->users, 1, memory_order_acq_rel) == 1) free(w);
}

// What a thread of XLA's pool runs; perhaps long after the call ended, when no chunk is left.
static void help(void* data) {
  Work* w = data;
  Environment own;
  fegetenv(&own);
  fesetenv(&w->environment);
  work(w);
  fesetenv(&own);
  leave(w);
}

static int64_t pool_threads(XLA_FFI_CallFrame* frame) {
  int64_t threads = 1;
  XLA_FFI_ThreadPool_NumThreads_Args args = {XLA_FFI_ThreadPool_NumThreads_Args_STRUCT_SIZE, 0,
                                             frame->ctx, &threads};
  if (failed(frame->api, frame->api->XLA_FFI_ThreadPool_NumThreads(&args))) return 1;
  return threads;
}

static void work_together(XLA_FFI_CallFrame* frame, Work* w, int64_t helpers) {
  atomic_init(&w->next, 0);
  atomic_init(&w->done, 0);
  atomic_init(&w->users, 1);
  fegetenv(&w->environment);
  for (int64_t i = 0; i < helpers; ++i) {
    XLA_FFI_ThreadPool_Schedule_Args args = {XLA_FFI_ThreadPool_Schedule_Args_STRUCT_SIZE, 0,
                                             frame->ctx, help, w};
    atomic_fetch_add_explicit(&w->users, 1, memory_order_relaxed);
    if (failed(frame->api, frame->api->XLA_FFI_ThreadPool_Schedule(&args))) {
      leave(w);
      break;
    }
  }
  // The caller works until no chunk is left, so that it waits for threads that run, never for tasks
  // that are queued: a busy pool blocks nothing.
  work(w);
  for (int waits = 0; atomic_load_explicit(&w->done, memory_order_acquire) < w->chunks; ++waits) {
    if (waits > SPINS + YIELDS) usleep(20);
    else if (waits > SPINS) sched_yield();
  }
  leave(w);
}

static void answer_metadata(XLA_FFI_Metadata* metadata) {
  metadata->api_version.major_version = ffi_major;
  metadata->api_version.minor_version = ffi_minor;
  metadata->traits = 0;
}

void* adam_optax_run(XLA_FFI_CallFrame* frame, Loop* loop, int64_t scalars, int64_t arrays,
                     int64_t results, int64_t width, int64_t by_row) {
  if (frame->extension_start && frame->extension_start->type == XLA_FFI_Extension_Metadata) {
    answer_metadata(((XLA_FFI_Metadata_Extension*)frame->extension_start)->metadata);
    return 0;
  }
  if (frame->stage != XLA_FFI_ExecutionStage_EXECUTE) return 0;
  if (frame->args.size != scalars + arrays)
    return refuse(frame->api, "adam_optax: a loop got another number of operands than it has");
  if (frame->rets.size != results)
    return refuse(frame->api, "adam_optax: a loop got another number of results than it has");

  const XLA_FFI_Buffer* leaf = frame->args.args[scalars];
  int64_t elements = 1, columns = 1;
  for (int64_t i = 0; i < leaf->rank; ++i) elements *= leaf->dims[i];
  if (elements == 0) return 0;
  if (!by_row) columns = elements;
  else if (leaf->rank > 0) columns = leaf->dims[leaf->rank - 1];
  const int64_t units = elements / columns * ((columns - 1) / width + 1);

  void* pointers[scalars + arrays + results];
  for (int64_t i = 0; i < scalars + arrays; ++i)
    pointers[i] = ((XLA_FFI_Buffer*)frame->args.args[i])->data;
  for (int64_t i = 0; i < results; ++i)
    pointers[scalars + arrays + i] = ((XLA_FFI_Buffer*)frame->rets.rets[i])->data;

  // Units of short rows are not full: a chunk has so many units that GRAIN elements are in it.
  const int64_t per_unit = columns < width ? columns : width;
  const int64_t grain = GRAIN / per_unit > 0 ? GRAIN / per_unit : 1;
  const int64_t chunks = (units - 1) / grain + 1;
  int64_t helpers = chunks > 1 ? pool_threads(frame) - 1 : 0;
  if (helpers > chunks - 1) helpers = chunks - 1;
  Work* w = helpers > 0 ? malloc(sizeof(Work)) : 0;
  if (w) {
    w->loop = loop;
    w->pointers = pointers;
    w->scalars = scalars;
    w->arrays = arrays;
    w->columns = columns;
    w->units = units;
    w->grain = grain;
    w->chunks = chunks;
    work_together(frame, w, helpers);
  } else {
    loop(pointers, pointers + scalars, pointers + scalars + arrays, 0, units, columns);
  }
  return 0;
}
