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
#include <sys/mman.h>
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
// whole ones. A large one has pages of its own, which take memory when they are first written: there
// is room for more spikes than there will be.
template <typename T>
T* allocate(std::size_t size)
{
    const std::size_t line = 64, page = (std::size_t)1 << 21, bytes = size*sizeof(T);
    const std::size_t padded = (bytes/line + 1)*line;
    if (bytes < 2*page)
    {
        void* data = 0;
        if (posix_memalign(&data, line, padded))
            fail("there is not enough memory");
        std::memset(data, 0, padded);
        return static_cast<T*>(data);
    }
    const int access = PROT_READ | PROT_WRITE;
    void* const pages = mmap(0, padded + page, access, MAP_PRIVATE | MAP_ANON, -1, 0);
    if (pages == MAP_FAILED)
        fail("there is not enough memory");
    char* data = static_cast<char*>(pages);
    data += (page - reinterpret_cast<std::uintptr_t>(data) % page) % page;
#if defined(__linux__)
    madvise(data, padded, MADV_HUGEPAGE);
#endif
    return reinterpret_cast<T*>(data);
}

// Memory that holds arrays which others see, who have asked for it: EPROP_BRIAN_MEMORY has, for each
// such stretch, the descriptor of a file and whether it may be written ("5r 6w"). A large array has
// whole large pages there, where the system gives such to shared memory.
class Stretch
{
public:
    Stretch(int number, std::size_t bytes) : data_(0)
    {
        int files[2];
        char modes[2];
        const char* const given = std::getenv("EPROP_BRIAN_MEMORY");
        if (!given)
            data_ = allocate<char>(bytes);
        else if (std::sscanf(given, "%d%c %d%c", &files[0], &modes[0], &files[1], &modes[1]) != 4)
            fail("EPROP_BRIAN_MEMORY does not name two files: ", given);
        else
            data_ = mapped(files[number], modes[number] == 'w', bytes ? bytes : 1);
    }

    template <typename T> T* at(std::size_t offset) const
    {
        return reinterpret_cast<T*>(data_ + offset);
    }

private:
    char* data_;

    static char* mapped(int file, bool writable, std::size_t bytes)
    {
        const std::size_t page = (std::size_t)1 << 21;
        const int access = PROT_READ | (writable ? PROT_WRITE : 0);
        char* room = static_cast<char*>(
            mmap(0, bytes + page, PROT_NONE, MAP_PRIVATE | MAP_ANON, -1, 0));
        if (room == MAP_FAILED)
            fail("there is not enough memory");
        room += (page - reinterpret_cast<std::uintptr_t>(room) % page) % page;
        if (mmap(room, bytes, access, MAP_SHARED | MAP_FIXED, file, 0) == MAP_FAILED)
            fail("the memory that is shared with Python cannot be mapped");
#if defined(__linux__)
        madvise(room, bytes, MADV_HUGEPAGE);
#endif
        return room;
    }
};

// Filters decay to denormal numbers, which take a hundred times as long: make them zero.
inline void flush_denormals()
{
#if defined(__SSE__)
    _mm_setcsr(_mm_getcsr() | 0x8040);
#endif
}
}
#endif
