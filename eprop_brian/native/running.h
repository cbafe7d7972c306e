// What a program of a network needs while it runs: to end when it must, and arithmetic without
// denormal numbers.
#ifndef EPROP_BRIAN_RUNNING_H
#define EPROP_BRIAN_RUNNING_H

#include <csignal>
#include <cstdio>
#include <cstdlib>
#if defined(__SSE__)
#include <xmmintrin.h>
#endif

namespace eprop_brian
{
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

// Filters decay to denormal numbers, which take a hundred times as long: make them zero.
inline void flush_denormals()
{
#if defined(__SSE__)
    _mm_setcsr(_mm_getcsr() | 0x8040);
#endif
}
}
#endif
