// What a generated step is written with: arrays, a clock, and what to do when the program must end.
#ifndef EPROP_BRIAN_ARRAYS_H
#define EPROP_BRIAN_ARRAYS_H

#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(__SSE__)
#include <xmmintrin.h>
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

// An array of the program, by its key "group.variable".
struct Entry
{
    const char* key;
    void* data;
    std::uint64_t bytes;
};

// The generated source defines these. A call runs the trials that the arrays ask for, or, with 0 of
// them, makes an update.
extern const Entry entries[];
extern const std::size_t n_entries;
void run_call();

inline void fail(const char* message, const char* detail = "")
{
    std::fprintf(stderr, "%s%s\n", message, detail);
    std::_Exit(1);
}

// Whether a call is to end after the current trial; a handler of signals may set it.
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

// Filters decay to denormal numbers, which take a hundred times as long: make them zero.
inline void flush_denormals()
{
#if defined(__SSE__)
    _mm_setcsr(_mm_getcsr() | 0x8040);
#endif
}
}
#endif
