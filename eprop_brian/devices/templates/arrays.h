// The arrays of a compiled network, as whoever calls it sees them.
#ifndef EPROP_BRIAN_ARRAYS_H
#define EPROP_BRIAN_ARRAYS_H

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <new>
#include <string>
#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(__SSE__)
#include <xmmintrin.h>
#endif

// Brian2 allocates every array with new[]. Vectors want it to start with a cache line and to be
// padded to whole ones; a history is large enough for pages of its own. Weak: several files include
// this one.
__attribute__((weak)) void* operator new[](std::size_t bytes)
{
    const std::size_t line = 64, page = (std::size_t)1 << 21;
    const bool large = bytes >= 2*page;
    const std::size_t padded = (bytes/line + 1)*line;
    void* data = 0;
    if (posix_memalign(&data, large ? page : line, padded))
        throw std::bad_alloc();
#if defined(__linux__)
    if (large)
        madvise(data, padded, MADV_HUGEPAGE);
#endif
    std::memset(static_cast<char*>(data) + padded - line, 0, line);
    return data;
}

__attribute__((weak)) void operator delete[](void* data) noexcept
{
    std::free(data);
}

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
};

typedef std::map<std::string, Array> Arrays;

inline void fail(const std::string& message)
{
    std::fprintf(stderr, "%s\n", message.c_str());
    std::_Exit(1);
}

// Set an array from values, and values from an array.
inline void put(Array& array, const void* values)
{
    std::memcpy(array.data, values, array.bytes);
}

inline void take(const Array& array, void* values)
{
    std::memcpy(values, array.data, array.bytes);
}

// Filters decay to denormal numbers, which take a hundred times as long: make them zero.
inline void flush_denormals()
{
#if defined(__SSE__)
    _mm_setcsr(_mm_getcsr() | 0x8040);
#endif
}
}
#endif
