// The program as a process: where it stands, and how it is stopped.
#ifndef EPROP_BRIAN_PROCESS_H
#define EPROP_BRIAN_PROCESS_H

#include <climits>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <string>
#if defined(__APPLE__)
#include <mach-o/dyld.h>
#endif
#include <unistd.h>

#include "../running.h"

namespace eprop_brian
{
// Where the program stands; its data are beside it.
inline std::string program_path(const std::string& name)
{
    char path[PATH_MAX + 1] = "";
#if defined(__APPLE__)
    std::uint32_t size = PATH_MAX;
    _NSGetExecutablePath(path, &size);
#else
    const ssize_t length = readlink("/proc/self/exe", path, PATH_MAX);
    path[length > 0 ? length : 0] = '\0';
#endif
    return *path ? path : "./" + name;
}

inline std::string folder_of(const std::string& path)
{
    const std::size_t slash = path.rfind('/');
    return slash == std::string::npos ? "." : path.substr(0, slash);
}

// One name for one file, whether or not it is there.
inline std::string real_path(const std::string& path)
{
    char found[PATH_MAX + 1];
    if (realpath(path.c_str(), found))
        return found;
    if (!realpath(folder_of(path).c_str(), found))
        return path;
    return std::string(found) + "/" + path.substr(path.rfind('/') + 1);
}

// The first time: stop after the present trial, on a GPU after its call. The second: at once.
inline void interrupt(int signal_number)
{
    stopping() = 1;
    std::signal(signal_number, SIG_DFL);
}

// What signals do is put off while it exists: saving is never left half done.
class Uninterrupted
{
public:
    Uninterrupted()
    {
        for (int i = 0; i < 3; i++)
        {
            before[i] = std::signal(signals()[i], wait);
            // nohup ignores one, and that stays so.
            if (before[i] == SIG_IGN)
                std::signal(signals()[i], SIG_IGN);
        }
    }
    ~Uninterrupted()
    {
        for (int i = 0; i < 3; i++)
            if (before[i] != SIG_ERR)
                std::signal(signals()[i], before[i]);
        // One inside another hands it on.
        const int signal_number = waiting();
        waiting() = 0;
        if (signal_number)
            std::raise(signal_number);
    }
    Uninterrupted(const Uninterrupted&) = delete;
    Uninterrupted& operator=(const Uninterrupted&) = delete;

private:
    void (*before[3])(int);

    static const int* signals()
    {
        static const int all[] = {SIGINT, SIGTERM, SIGHUP};
        return all;
    }
    static volatile std::sig_atomic_t& waiting()
    {
        static volatile std::sig_atomic_t value = 0;
        return value;
    }
    static void wait(int signal_number) { waiting() = signal_number; }
};

inline void catch_interrupts()
{
    for (const int signal_number : {SIGINT, SIGTERM, SIGHUP})
        // nohup and jobs in the background ignore one, and that stays so.
        if (std::signal(signal_number, interrupt) == SIG_IGN)
            std::signal(signal_number, SIG_IGN);
}
}
#endif
