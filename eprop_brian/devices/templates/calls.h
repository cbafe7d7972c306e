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

#include <vector>

#include "arrays.h"

namespace eprop_brian
{
inline void receive(void* data, std::size_t bytes)
{
    if (std::fread(data, 1, bytes, stdin) != bytes)
        fail("the input ended in the middle of a command");
}

inline Array& receive_key(Arrays& arrays)
{
    std::uint32_t length;
    receive(&length, sizeof(length));
    if (length > 4096)
        fail("the name of an array is too long");
    std::string key(length, ' ');
    receive(&key[0], length);
    Arrays::iterator found = arrays.find(key);
    if (found == arrays.end())
        fail("there is no array " + key);
    return found->second;
}

// Handles commands until a run is asked for. The first call answers none, each later one answers
// the run before it.
inline bool next_call(Arrays& arrays, const std::vector<std::string>&)
{
    static bool first = true;
    static std::vector<char> values;
    if (first)
    {
        flush_denormals();
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
            values.resize(bytes);
            receive(values.data(), bytes);
            put(array, values.data());
        }
        else if (command == 'G')
        {
            std::fwrite(&bytes, sizeof(bytes), 1, stdout);
            values.resize(bytes);
            take(array, values.data());
            std::fwrite(values.data(), 1, bytes, stdout);
        }
        else
            fail("unknown command");
    }
}
}
#endif
