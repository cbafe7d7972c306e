// What the kernels of a CUDA program and its host code share: memory, launches, waves of trials.
//
// Without nvcc the same sources are compiled against an emulation of CUDA, cuda_emulation.h.
#ifndef EPROP_BRIAN_DEVICE_H
#define EPROP_BRIAN_DEVICE_H

#include <algorithm>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <utility>
#include <vector>
#if defined(__CUDACC__)
#include <cuda_runtime.h>
#else
#include "cuda_emulation.h"
#endif

namespace eprop_brian
{
inline void check(cudaError_t status, const char* what)
{
    if (status == cudaSuccess)
        return;
    std::fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(status));
    std::_Exit(1);
}

template <typename... Parameters, typename... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, int threads, Arguments... arguments)
{
#if defined(__CUDACC__)
    kernel<<<grid, threads>>>(arguments...);
    check(cudaGetLastError(), "a kernel cannot be launched");
#else
    emulation::launch(grid, threads, [=] { kernel(arguments...); });
#endif
}

// Blocks of 256 threads for so many elements.
inline unsigned blocks(std::size_t n)
{
    return (unsigned)std::max<std::size_t>(1, (n + 255)/256);
}

// The copy that ran the last trial: what a trial has for itself is read from there.
inline int& shown_copy()
{
    static int copy = 0;
    return copy;
}

// A setting of the user, or `otherwise`.
inline int setting(const char* name, int otherwise)
{
    const char* given = std::getenv(name);
    return given && *given ? std::atoi(given) : otherwise;
}

// Where arrays are: those that all trials share, and for every trial of a wave a copy of the rest.
struct Memory
{
    char *shared, *copies;
    std::size_t own_bytes;
    // Sums over the trials of each share that is computed at the same time; squares for a norm.
    char* partials;
    double* squares;
    int n_copies, n_shares;

    // As many copies as there is room for, and at most as many as there can be trials.
    static Memory allocate(std::size_t shared_bytes, std::size_t own_bytes, int most_copies,
                           std::size_t partial_bytes, int n_squares, int share)
    {
        Memory memory = {};
        int n_devices = 0;
        check(cudaGetDeviceCount(&n_devices), "device 'cuda' needs a GPU to run a program");
        memory.own_bytes = own_bytes;
        memory.shared = cleared(shared_bytes);
        memory.squares = (double*)cleared(n_squares*sizeof(double));
        std::size_t free = 0, total = 0;
        check(cudaMemGetInfo(&free, &total), "the memory of the GPU is not known");
        const std::size_t budget = free/10*8;
        most_copies = std::min(most_copies, std::max(1, setting("EPROP_BRIAN_CUDA_COPIES", INT_MAX)));
        memory.n_shares = (most_copies + share - 1)/share;
        if (partial_bytes)
            memory.n_shares = std::max<std::size_t>(
                1, std::min<std::size_t>(memory.n_shares, budget/8/partial_bytes));
        memory.n_shares = std::min(memory.n_shares, 65535);
        memory.partials = cleared(memory.n_shares*partial_bytes);
        const std::size_t left = budget - std::min(budget, memory.n_shares*partial_bytes);
        memory.n_copies = most_copies;
        if (own_bytes)
            memory.n_copies = (int)std::min<std::size_t>(most_copies, left/own_bytes);
        if (memory.n_copies < 1)
        {
            std::fprintf(stderr,
                         "the memory of the GPU does not hold a single trial: it takes %zu bytes, "
                         "%zu are free\n", own_bytes + partial_bytes, free);
            std::_Exit(1);
        }
        // Whole shares, where there is more than one, are computed at the same time.
        if (memory.n_copies > share && memory.n_copies < most_copies)
            memory.n_copies -= memory.n_copies % share;
        memory.copies = cleared(memory.n_copies*own_bytes);
        return memory;
    }

    static char* cleared(std::size_t bytes)
    {
        void* data = 0;
        bytes = std::max<std::size_t>(bytes, 1);
        check(cudaMalloc(&data, bytes), "there is not enough memory on the GPU");
        check(cudaMemset(data, 0, bytes), "the memory of the GPU cannot be written");
        return (char*)data;
    }

    template <typename T>
    T read(std::size_t offset) const
    {
        T value;
        check(cudaMemcpy(&value, shared + offset, sizeof(T), cudaMemcpyDeviceToHost),
              "the memory of the GPU cannot be read");
        return value;
    }
};

// How long stages take on the GPU: what has passed since the last lap belongs to its stage.
class Laps
{
    std::vector<std::pair<cudaEvent_t, int>> events;

public:
    void lap(int stage)
    {
        cudaEvent_t event;
        check(cudaEventCreate(&event), "time cannot be measured");
        check(cudaEventRecord(event), "time cannot be measured");
        events.push_back(std::make_pair(event, stage));
    }

    // Once the GPU is done. Writes the seconds of every stage.
    template <typename T>
    void write(T* seconds, int n_stages)
    {
        std::vector<T> sums(n_stages, 0);
        for (std::size_t i = 1; i < events.size(); i++)
        {
            float milliseconds = 0;
            check(cudaEventElapsedTime(&milliseconds, events[i - 1].first, events[i].first),
                  "time cannot be measured");
            sums[events[i].second] += milliseconds/1000;
        }
        for (std::size_t i = 0; i < events.size(); i++) cudaEventDestroy(events[i].first);
        check(cudaMemcpy(seconds, sums.data(), n_stages*sizeof(T), cudaMemcpyHostToDevice),
              "the memory of the GPU cannot be written");
    }
};

// Trials that run at the same time. They may be parts of shares, whose sums are made in order.
struct Wave
{
    int first_trial, n_trials, first, batch_size, share;
    bool updating;

    Wave(int trial, int all_trials, int batch_size, bool updating, int n_copies, int share)
        : first_trial(trial), n_trials(std::min(n_copies, all_trials - trial)),
          // Without updates all trials are summed as one share.
          first(updating ? trial % batch_size : trial), batch_size(batch_size),
          share(updating ? share : INT_MAX), updating(updating)
    {
        // Weights change at the end of a batch.
        if (updating)
            n_trials = std::min(n_trials, batch_size - first);
    }

    __host__ __device__ int n_shares() const
    {
        return (first + n_trials - 1)/share - first/share + 1;
    }
    // First trial of a share, and the one after its last, counted from the start of the wave.
    __host__ __device__ int begin(int number) const
    {
        const long long at = ((long long)(first/share) + number)*share - first;
        return at < 0 ? 0 : (int)at;
    }
    __host__ __device__ int end(int number) const
    {
        const long long at = ((long long)(first/share) + number + 1)*share - first;
        return at > n_trials ? n_trials : (int)at;
    }
    // Whether earlier waves began the share.
    __host__ __device__ bool continues(int number) const
    {
        return number == 0 && first % share != 0;
    }
    // Whether its sum is complete and the batch goes on.
    __host__ __device__ bool folds(int number) const
    {
        const int done = first + end(number);
        return updating && done % share == 0 && done < batch_size;
    }
};

// Call `list(neuron, place)` for the neurons that fired, in their order, from place `end` on; all
// threads of the block take part. Returns the place after the last.
template <typename Fired, typename List>
__device__ int list_spikes(int n, Fired fired, int end, List list)
{
    __shared__ int counts[32];
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    const int n_warps = (blockDim.x + 31) >> 5;
    for (int first = 0; first < n; first += blockDim.x)
    {
        const int neuron = first + threadIdx.x;
        const bool fires = neuron < n && fired(neuron);
        const unsigned votes = __ballot_sync(0xffffffffu, fires);
        if (lane == 0)
            counts[warp] = __popc(votes);
        __syncthreads();
        int before = 0, all = 0;
        for (int other = 0; other < n_warps; other++)
        {
            before += other < warp ? counts[other] : 0;
            all += counts[other];
        }
        if (fires)
            list(neuron, end + before + __popc(votes & ((1u << lane) - 1)));
        end += all;
        __syncthreads();
    }
    return end;
}

// A loop that the threads of a block share out; all of them take part, and see what it wrote behind
// it.
struct BlockOfThreads
{
    template <typename Body> __device__ void each(int n, const Body& body) const
    {
        for (int i = threadIdx.x; i < n; i += blockDim.x) body(i);
        __syncthreads();
    }
};

// The sum over the threads of a block, in an order that depends on their number alone.
inline __device__ double sum_of_block(double value)
{
    __shared__ double values[1024];
    values[threadIdx.x] = value;
    __syncthreads();
    for (int half = blockDim.x/2; half > 0; half /= 2)
    {
        if ((int)threadIdx.x < half)
            values[threadIdx.x] += values[threadIdx.x + half];
        __syncthreads();
    }
    const double sum = values[0];
    __syncthreads();
    return sum;
}

// The first of the largest positive values, or -1; all threads of the block take part.
template <typename T>
__device__ int first_largest(const T* values, int n)
{
    __shared__ T largest[1024];
    __shared__ int place[1024];
    const int thread = threadIdx.x;
    T most = 0;
    int where = -1;
    for (int i = thread; i < n; i += blockDim.x)
        if (values[i] > most)
        {
            most = values[i];
            where = i;
        }
    largest[thread] = most;
    place[thread] = where;
    __syncthreads();
    // The number of threads need not be a power of 2.
    for (int n_left = blockDim.x; n_left > 1;)
    {
        const int half = (n_left + 1)/2;
        if (thread + half < n_left)
        {
            const T other = largest[thread + half];
            const int other_place = place[thread + half];
            if (other > largest[thread]
                || (other == largest[thread] && other_place >= 0 && other_place < place[thread]))
            {
                largest[thread] = other;
                place[thread] = other_place;
            }
        }
        __syncthreads();
        n_left = half;
    }
    const int first = place[0];
    __syncthreads();
    return first;
}

// The neurons that fire: the one of the largest candidate, or all above 0; returns how many.
template <typename T> __device__ int fire(const T* candidates, int n, bool one, int* fired)
{
    if (!one)
        return list_spikes(
            n, [&](int i) { return candidates[i] > 0; }, 0, [&](int i, int place) { fired[place] = i; });
    const int first = first_largest(candidates, n);
    if (first >= 0 && threadIdx.x == 0) fired[0] = first;
    return first >= 0;
}

// The row of a sparse matrix that an element is in; the rows begin at `first`.
inline __device__ int row_of(const int* first, int n_rows, int element)
{
    int row = 0;
    for (int last = n_rows; last - row > 1;)
    {
        const int middle = (row + last)/2;
        if (first[middle] <= element)
            row = middle;
        else
            last = middle;
    }
    return row;
}
}
#endif
