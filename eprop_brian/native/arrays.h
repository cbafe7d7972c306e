// What a generated step is written with: arrays and a clock.
//
// Every network's program is compiled anew, and to read the standard library's headers takes as long
// as to compile a small step: so this one needs none of them. `access.cpp` has what does.
#ifndef EPROP_BRIAN_ARRAYS_H
#define EPROP_BRIAN_ARRAYS_H

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace eprop_brian
{
// A clock that is cheap to read, in units of its own.
#if defined(__x86_64__) || defined(__i386__)
inline unsigned long long ticks() { return __builtin_ia32_rdtsc(); }
#else
unsigned long long ticks();
#endif

// An array of the program, by its key "group.variable": so many bytes behind where `base` points to.
// That is known before the program starts. To store as many pointers then would take as long to
// compile as the step.
struct Entry
{
    const char* key;
    char* const* base;
    std::size_t offset;
    std::uint64_t bytes;
};

// The generated source defines these. A step runs trials that the arrays ask for, or, with 0 of
// them, makes an update; true after the last.
extern const Entry entries[];
extern const std::size_t n_entries;
bool step();

// Zeros in main memory. Vectors want them to start with a cache line and to be padded to whole ones.
// Many have pages of their own, which take memory when they are first written: there is room for more
// spikes than there will be.
char* allocate(std::size_t bytes);

// Memory that holds arrays which others see, who have asked for it: EPROP_BRIAN_MEMORY has, for each
// such stretch, the descriptor of a file and whether it may be written ("5r 6w"). A large array has
// whole large pages there, where the system gives such to shared memory.
char* stretch(int number, std::size_t bytes);

// The same memory or, where that has no room for so many bytes, more, with what was there before.
void* with_room(void* memory, std::size_t bytes);

template <typename T> inline void clear(T* numbers, std::size_t n)
{
    std::memset(numbers, 0, n*sizeof(T));
}

template <typename T> inline void copy(const T* from, std::size_t n, T* to)
{
    std::memmove(to, from, n*sizeof(T));
}

// Numbers of which there may be more in every trial. It is static: there are none at first.
template <typename T> struct Numbers
{
    T* data;
    std::size_t room;

    T* of(std::size_t n)
    {
        if (n > room)
        {
            room = n + n/2;
            data = static_cast<T*>(with_room(data, room*sizeof(T)));
        }
        return data;
    }
};
}
#endif
