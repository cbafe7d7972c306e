// Calls of a compiled network: a process that is started once and asked many times.
//
// Python writes commands to the standard input and reads replies from the standard output:
//   S <key> <bytes> <data>   set an array          no reply
//   R                        run                   one byte when done
//   G <key>                  get an array          <bytes> <data>
// A key is its length (uint32) and its characters; a number of bytes is a uint64. The end of the
// input ends the process.
#ifndef EPROP_BRIAN_CALLS_H
#define EPROP_BRIAN_CALLS_H

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <new>
#include <string>
#include <vector>
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

inline void receive(void* data, std::size_t bytes)
{
    if (std::fread(data, 1, bytes, stdin) != bytes)
        fail("the input ended in the middle of a command");
}

inline Array& receive_key(Arrays& arrays)
{
    std::uint32_t length;
    receive(&length, sizeof(length));
    std::string key(length, ' ');
    receive(&key[0], length);
    Arrays::iterator found = arrays.find(key);
    if (found == arrays.end())
        fail("there is no array " + key);
    return found->second;
}

// Handles commands until a run is asked for. The first call answers none, each later one answers
// the run before it.
inline bool next_call(Arrays& arrays)
{
    static bool first = true;
    if (first)
    {
#if defined(__SSE__)
        // Filters decay to denormal numbers, which take a hundred times as long: make them zero.
        _mm_setcsr(_mm_getcsr() | 0x8040);
#endif
        static std::vector<char> buffer(1 << 20);
        std::setvbuf(stdin, &buffer[0], _IOFBF, buffer.size());
    }
    else
        std::putchar('D');
    first = false;
    for (;;)
    {
        std::fflush(stdout);
        const int command = std::getchar();
        if (command == EOF)
            return false;
        if (command == 'R')
            return true;
        Array& array = receive_key(arrays);
        std::uint64_t bytes = array.bytes;
        if (command == 'S')
        {
            receive(&bytes, sizeof(bytes));
            if (bytes != array.bytes)
                fail("an array has another size than the values it is set to");
            receive(array.data, bytes);
        }
        else if (command == 'G')
        {
            std::fwrite(&bytes, sizeof(bytes), 1, stdout);
            std::fwrite(array.data, 1, bytes, stdout);
        }
        else
            fail("unknown command");
    }
}
}
#endif
