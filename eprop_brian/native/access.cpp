// The arrays and calls of a network on the CPU: see program.h.
#include "program.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <sys/mman.h>

#include "arrays.h"
#include "running.h"

namespace eprop_brian
{
namespace
{
const Entry* find(const std::string& key)
{
    static std::map<std::string, const Entry*> table;
    if (table.empty())
        for (std::size_t i = 0; i < n_entries; i++)
            table[entries[i].key] = &entries[i];
    const std::map<std::string, const Entry*>::const_iterator place = table.find(key);
    return place == table.end() ? 0 : place->second;
}

const Entry& entry(const std::string& key)
{
    const Entry* const place = find(key);
    if (!place)
        fail("the network does not have the array ", key.c_str());
    return *place;
}

const std::size_t large_page = (std::size_t)1 << 21;

// The first address from here on where a large page begins.
char* aligned(void* address)
{
    char* const place = static_cast<char*>(address);
    return place + (large_page - reinterpret_cast<std::uintptr_t>(place) % large_page) % large_page;
}

void* mapped(void* where, std::size_t bytes, int access, int kind, int file)
{
    void* const pages = mmap(where, bytes, access, kind, file, 0);
    if (pages == MAP_FAILED)
        fail(file < 0 ? "there is not enough memory"
                      : "the memory that is shared with Python cannot be mapped");
    return pages;
}

void prefer_large_pages(char* data, std::size_t bytes)
{
#if defined(__linux__)
    madvise(data, bytes, MADV_HUGEPAGE);
#else
    (void)data, (void)bytes;
#endif
}
}

#if !defined(__x86_64__) && !defined(__i386__)
unsigned long long ticks()
{
    return std::chrono::steady_clock::now().time_since_epoch().count();
}
#endif

char* allocate(std::size_t bytes)
{
    const std::size_t line = 64, padded = (bytes/line + 1)*line;
    if (bytes < 2*large_page)
    {
        void* data = 0;
        if (posix_memalign(&data, line, padded))
            fail("there is not enough memory");
        std::memset(data, 0, padded);
        return static_cast<char*>(data);
    }
    const int access = PROT_READ | PROT_WRITE;
    char* const data = aligned(mapped(0, padded + large_page, access, MAP_PRIVATE | MAP_ANON, -1));
    prefer_large_pages(data, padded);
    return data;
}

char* stretch(int number, std::size_t bytes)
{
    const char* const given = std::getenv("EPROP_BRIAN_MEMORY");
    if (!given)
        return allocate(bytes);
    int files[2];
    char modes[2];
    if (std::sscanf(given, "%d%c %d%c", &files[0], &modes[0], &files[1], &modes[1]) != 4)
        fail("EPROP_BRIAN_MEMORY does not name two files: ", given);
    if (bytes == 0)
        bytes = 1;
    const int access = PROT_READ | (modes[number] == 'w' ? PROT_WRITE : 0);
    char* const room = aligned(
        mapped(0, bytes + large_page, PROT_NONE, MAP_PRIVATE | MAP_ANON, -1));
    mapped(room, bytes, access, MAP_SHARED | MAP_FIXED, files[number]);
    prefer_large_pages(room, bytes);
    return room;
}

void* with_room(void* memory, std::size_t bytes)
{
    void* const more = std::realloc(memory, bytes);
    if (!more)
        fail("there is not enough memory");
    return more;
}

bool has_array(const std::string& key) { return find(key); }

std::uint64_t array_bytes(const std::string& key) { return entry(key).bytes; }

void set_array(const std::string& key, const void* values)
{
    const Entry& array = entry(key);
    std::memcpy(*array.base + array.offset, values, array.bytes);
}

void run_network()
{
    while (!step() && !stopping());
}

void get_array(const std::string& key, void* values)
{
    const Entry& array = entry(key);
    std::memcpy(values, *array.base + array.offset, array.bytes);
}
}
