// The arrays of a compiled network, as whoever calls it sees them.
#ifndef EPROP_BRIAN_ARRAYS_H
#define EPROP_BRIAN_ARRAYS_H

#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(__SSE__)
#include <xmmintrin.h>
#endif
#if defined(EPROP_BRIAN_CUDA)
#include "device.h"
#endif

namespace eprop_brian
{
// A clock that is cheap to read, in units of its own.
inline unsigned long long ticks()
{
#if defined(__x86_64__) || defined(__i386__)
    return __builtin_ia32_rdtsc();
#else
    return std::chrono::steady_clock::now().time_since_epoch().count();
#endif
}

struct Array
{
    void* data;
    std::uint64_t bytes;
#if defined(EPROP_BRIAN_CUDA)
    // of the array that every trial has for itself: how many there are, and how far apart
    int copies;
    std::uint64_t stride;
#endif
};

typedef std::map<std::string, Array> Arrays;

inline void fail(const std::string& message)
{
    std::fprintf(stderr, "%s\n", message.c_str());
    std::_Exit(1);
}

// Whether a call is to end after the trial at hand; a handler of signals may say so.
inline volatile std::sig_atomic_t& stopping()
{
    static volatile std::sig_atomic_t value = 0;
    return value;
}

// An array of zeros in main memory. Vectors want it to start with a cache line and to be padded to
// whole ones; a history is large enough for pages of its own.
template <typename T>
T* allocate(std::size_t size)
{
    const std::size_t line = 64, page = (std::size_t)1 << 21, bytes = size*sizeof(T);
    const bool large = bytes >= 2*page;
    const std::size_t padded = (bytes/line + 1)*line;
    void* data = 0;
    if (posix_memalign(&data, large ? page : line, padded))
        fail("there is not enough memory");
#if defined(__linux__)
    if (large)
        madvise(data, padded, MADV_HUGEPAGE);
#endif
    std::memset(data, 0, padded);
    return static_cast<T*>(data);
}

// Set an array from values, and values from an array. On a GPU this is the only way to it.
#if defined(EPROP_BRIAN_CUDA)
inline void put(Array& array, const void* values)
{
    for (int copy = 0; copy < array.copies; copy++)
        check(cudaMemcpy((char*)array.data + copy*array.stride, values, array.bytes,
                         cudaMemcpyHostToDevice), "an array cannot be set");
}

inline void take(const Array& array, void* values)
{
    const int copy = array.copies > 1 ? shown_copy() : 0;
    check(cudaMemcpy(values, (char*)array.data + copy*array.stride, array.bytes,
                     cudaMemcpyDeviceToHost), "an array cannot be read");
}
#else
inline void put(Array& array, const void* values)
{
    std::memcpy(array.data, values, array.bytes);
}

inline void take(const Array& array, void* values)
{
    std::memcpy(values, array.data, array.bytes);
}
#endif

// Filters decay to denormal numbers, which take a hundred times as long: make them zero.
inline void flush_denormals()
{
#if defined(__SSE__)
    _mm_setcsr(_mm_getcsr() | 0x8040);
#endif
}
}
#endif
