// Calls of a compiled network: a process that is started once and asked many times.
//
// Python writes commands to the standard input and reads replies from the standard output:
//   S <key> <bytes> <data>   set an array          no reply
//   R                        run                   one byte when done
//   G <key>                  get an array          <bytes> <data>
// A key is its length (uint32) and its characters; a number of bytes is a uint64. The end of the
// input ends the process. So does, in the middle of a run and even where it was stopped, the end of
// the process that started it.
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <unistd.h>
#include <vector>
#if defined(__linux__)
#include <sys/prctl.h>
#endif

#include "program.h"
#include "running.h"

namespace eprop_brian
{
namespace
{
void receive(void* data, std::size_t bytes)
{
    if (std::fread(data, 1, bytes, stdin) != bytes)
        fail("the input ended in the middle of a command");
}

std::string receive_key()
{
    std::uint32_t length;
    receive(&length, sizeof(length));
    if (length > 4096)
        fail("the name of an array is too long");
    std::string key(length, ' ');
    receive(&key[0], length);
    if (!has_array(key))
        fail("the network does not have the array ", key.c_str());
    return key;
}

pid_t parent;

void end_with_parent(int)
{
    if (getppid() != parent)
        std::_Exit(1);
}

// Linux tells of the end of the thread that started this process: while another thread of the parent
// is left, that means nothing. It tells by a signal that lets a stopped process go on.
void watch_parent()
{
    parent = getppid();
#if defined(__linux__)
    std::signal(SIGCONT, end_with_parent);
    prctl(PR_SET_PDEATHSIG, SIGCONT);
#endif
}

// Handles one command; false at the end of the input.
bool handle(std::vector<char>& values)
{
    const int command = std::getchar();
    if (command == EOF)
        return false;
    if (command == 'R')
    {
        run_network();
        std::putchar('D');
    }
    else if (command == 'S')
    {
        const std::string key = receive_key();
        std::uint64_t bytes;
        receive(&bytes, sizeof(bytes));
        if (bytes != array_bytes(key))
            fail("an array has another size than the values it is set to: ", key.c_str());
        values.resize(bytes);
        receive(values.data(), bytes);
        set_array(key, values.data());
    }
    else if (command == 'G')
    {
        const std::string key = receive_key();
        const std::uint64_t bytes = array_bytes(key);
        std::fwrite(&bytes, sizeof(bytes), 1, stdout);
        values.resize(bytes);
        get_array(key, values.data());
        std::fwrite(values.data(), 1, bytes, stdout);
    }
    else
        fail("unknown command");
    std::fflush(stdout);
    return true;
}
}
}

int main()
{
    eprop_brian::flush_denormals();
    eprop_brian::watch_parent();
    std::vector<char> buffer(1 << 20), values;
    std::setvbuf(stdin, buffer.data(), _IOFBF, buffer.size());
    while (eprop_brian::handle(values));
    // Nothing is left to clean up.
    std::_Exit(0);
}
