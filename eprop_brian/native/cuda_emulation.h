// CUDA on a CPU, as much as the programs of this package use: to run their kernels without a GPU.
//
// The threads of a block are fibers. Between two barriers each runs by itself, in the order that
// $EPROP_BRIAN_EMULATED_ORDER says (ascending, descending or shuffled), and so do the blocks of a
// launch: a result that is the same in every order depends on no race. A block whose threads do
// not all reach a barrier ends the program. Slow: for tests and debugging.
#ifndef EPROP_BRIAN_CUDA_EMULATION_H
#define EPROP_BRIAN_CUDA_EMULATION_H

#include <math.h>
#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#define __global__
#define __host__
#define __device__
#define __shared__ static
#define __launch_bounds__(threads)

struct dim3
{
    unsigned x, y, z;
    dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

inline dim3 threadIdx, blockIdx, blockDim, gridDim;

using std::max;
using std::min;

namespace emulation
{
enum State { READY, AT_BARRIER, AT_VOTE, DONE };

struct Fiber
{
    ucontext_t start;
    jmp_buf place;
    std::unique_ptr<char[]> stack;
    State state;
    bool started;
};

inline std::vector<Fiber> fibers;
inline jmp_buf scheduler;
inline std::function<void()> body;
inline std::vector<unsigned> votes, results;
inline std::mt19937 random_numbers(1);

inline void fail(const char* message)
{
    std::fprintf(stderr, "%s\n", message);
    std::_Exit(1);
}

inline std::string order_asked_for()
{
    const char* given = std::getenv("EPROP_BRIAN_EMULATED_ORDER");
    return given ? given : "ascending";
}

inline std::vector<unsigned> order(unsigned n)
{
    static const std::string kind = order_asked_for();
    std::vector<unsigned> numbers(n);
    for (unsigned i = 0; i < n; i++) numbers[i] = i;
    if (kind == "descending")
        std::reverse(numbers.begin(), numbers.end());
    else if (kind == "shuffled")
        std::shuffle(numbers.begin(), numbers.end(), random_numbers);
    else if (kind != "ascending")
        fail("EPROP_BRIAN_EMULATED_ORDER must be ascending, descending or shuffled");
    return numbers;
}

inline void wait(State state)
{
    Fiber& fiber = fibers[threadIdx.x];
    fiber.state = state;
    if (_setjmp(fiber.place) == 0)
        _longjmp(scheduler, 1);
}

// A context enters a fiber for the first time; from there on jumps are ten times as fast.
__attribute__((noinline)) inline void resume(Fiber& fiber)
{
    if (_setjmp(scheduler))
        return;
    if (fiber.started)
        _longjmp(fiber.place, 1);
    fiber.started = true;
    setcontext(&fiber.start);
}

inline void run_fiber()
{
    body();
    wait(DONE);
}

// Let the threads of a warp that have all voted go on.
inline void count_votes(unsigned warp)
{
    const unsigned first = 32*warp, last = std::min(first + 32, blockDim.x);
    for (unsigned i = first; i < last; i++)
        if (fibers[i].state != AT_VOTE)
            return;
    results[warp] = votes[warp];
    votes[warp] = 0;
    for (unsigned i = first; i < last; i++) fibers[i].state = READY;
}

inline void run_block()
{
    // Without optimisation a step of a hundred states has more locals than fit into 64 kB.
    const std::size_t stack_bytes = 1 << 18;
    const unsigned n = blockDim.x;
    if (fibers.size() < n)
        fibers.resize(n);
    votes.assign((n + 31)/32, 0);
    results.assign((n + 31)/32, 0);
    for (unsigned i = 0; i < n; i++)
    {
        Fiber& fiber = fibers[i];
        if (!fiber.stack)
            fiber.stack.reset(new char[stack_bytes]);
        getcontext(&fiber.start);
        fiber.start.uc_stack.ss_sp = fiber.stack.get();
        fiber.start.uc_stack.ss_size = stack_bytes;
        fiber.start.uc_link = 0;
        makecontext(&fiber.start, run_fiber, 0);
        fiber.state = READY;
        fiber.started = false;
    }
    for (;;)
    {
        const std::vector<unsigned> numbers = order(n);
        bool ran = true;
        while (ran)
        {
            ran = false;
            for (unsigned i : numbers)
            {
                if (fibers[i].state != READY)
                    continue;
                threadIdx = dim3(i, 0, 0);
                resume(fibers[i]);
                ran = true;
                if (fibers[i].state == AT_VOTE)
                    count_votes(i/32);
            }
        }
        unsigned waiting = 0, done = 0;
        for (unsigned i = 0; i < n; i++)
        {
            waiting += fibers[i].state == AT_BARRIER;
            done += fibers[i].state == DONE;
        }
        if (done == n)
            return;
        if (waiting < n)
            fail("the threads of a block do not all reach the same barrier");
        for (unsigned i = 0; i < n; i++) fibers[i].state = READY;
    }
}

inline void launch(dim3 grid, int threads, std::function<void()> kernel)
{
    gridDim = grid;
    blockDim = dim3(threads);
    body = std::move(kernel);
    for (unsigned number : order(grid.x*grid.y*grid.z))
    {
        blockIdx = dim3(number % grid.x, number/grid.x % grid.y, number/grid.x/grid.y);
        run_block();
    }
}
}

inline void __syncthreads()
{
    emulation::wait(emulation::AT_BARRIER);
}

inline unsigned __ballot_sync(unsigned, bool vote)
{
    const unsigned warp = threadIdx.x/32;
    if (vote)
        emulation::votes[warp] |= 1u << (threadIdx.x % 32);
    emulation::wait(emulation::AT_VOTE);
    return emulation::results[warp];
}

template <typename T>
T __ldg(const T* place)
{
    return *place;
}

inline int __popc(unsigned bits)
{
    return __builtin_popcount(bits);
}

enum cudaError_t { cudaSuccess, cudaErrorMemoryAllocation };
enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost };

inline const char* cudaGetErrorString(cudaError_t status)
{
    return status == cudaSuccess ? "no error" : "out of memory";
}

inline cudaError_t cudaGetDeviceCount(int* n)
{
    *n = 1;
    return cudaSuccess;
}

inline cudaError_t cudaMalloc(void** data, std::size_t bytes)
{
    *data = std::aligned_alloc(256, (bytes + 255)/256*256);
    return *data ? cudaSuccess : cudaErrorMemoryAllocation;
}

inline cudaError_t cudaMemset(void* data, int value, std::size_t bytes)
{
    std::memset(data, value, bytes);
    return cudaSuccess;
}

inline cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind)
{
    std::memcpy(to, from, bytes);
    return cudaSuccess;
}

inline cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total)
{
    *free = *total = (std::size_t)1 << 30;
    return cudaSuccess;
}

typedef std::chrono::steady_clock::time_point* cudaEvent_t;

inline cudaError_t cudaEventCreate(cudaEvent_t* event)
{
    *event = new std::chrono::steady_clock::time_point;
    return cudaSuccess;
}

inline cudaError_t cudaEventRecord(cudaEvent_t event)
{
    *event = std::chrono::steady_clock::now();
    return cudaSuccess;
}

inline cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t from, cudaEvent_t to)
{
    *milliseconds = std::chrono::duration<float, std::milli>(*to - *from).count();
    return cudaSuccess;
}

inline cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    delete event;
    return cudaSuccess;
}

inline cudaError_t cudaGetLastError()
{
    return cudaSuccess;
}

inline cudaError_t cudaDeviceSynchronize()
{
    return cudaSuccess;
}
#endif
