// Files as a whole: a reader never sees half of one.
#ifndef EPROP_BRIAN_FILES_H
#define EPROP_BRIAN_FILES_H

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <sstream>
#include <string>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../common/errors.h"
#include "../common/new_file.h"

namespace eprop_brian
{
inline bool exists(const std::string& path)
{
    struct stat found;
    return stat(path.c_str(), &found) == 0;
}

inline std::string read_file(const std::string& path)
{
    std::ifstream file(path, std::ios::binary);
    if (!file)
        throw Error(path + ": " + std::strerror(errno));
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

// Written beside its place, on the disk, then renamed.
inline void write_file(const std::string& path, const std::string& content)
{
    const std::string beside = path + ".part";
    std::FILE* const file = new_file(beside);
    if (!file)
        throw Error("cannot write " + path + ": " + std::strerror(errno));
    const bool written = std::fwrite(content.data(), 1, content.size(), file) == content.size();
    if (written && put_in_place(file, beside, path))
        return;
    const std::string reason = std::strerror(errno);
    if (!written)
        std::fclose(file);
    std::remove(beside.c_str());
    throw Error("cannot write " + path + ": " + reason);
}

inline void make_folder(const std::string& path)
{
    // Those above it too; one that cannot be made shows below.
    for (std::size_t end = path.find('/', 1); end != std::string::npos; end = path.find('/', end + 1))
        mkdir(path.substr(0, end).c_str(), 0777);
    if (mkdir(path.c_str(), 0777) != 0 && errno != EEXIST)
        throw Error("cannot make the folder " + path + ": " + std::strerror(errno));
}

// The lock of the folder that this process has claimed; "" if none.
inline std::string& own_lock()
{
    static std::string path;
    return path;
}

// Leave a claimed folder without a lock, at the end of the process.
inline void release()
{
    if (!own_lock().empty())
        unlink(own_lock().c_str());
}

// Keep other processes from writing to a folder until this one ends. eprop_brian locks the same file
// (eprop_brian/base/locks.py).
inline void claim(const std::string& folder)
{
    const std::string path = folder + "/.lock";
    for (;;)
    {
        const int handle = open(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
        if (handle < 0)
            throw Error("cannot write to " + folder + ": " + std::strerror(errno));
        if (flock(handle, LOCK_EX | LOCK_NB) != 0)
        {
            if (errno == EWOULDBLOCK)
                throw Error(
                    "another process is writing to " + folder + ": wait until it has ended, or "
                    "choose another folder with --run");
            return;  // a file system without locks
        }
        // Who held it before may have removed it.
        struct stat locked, found;
        if (fstat(handle, &locked) == 0 && stat(path.c_str(), &found) == 0 &&
            locked.st_dev == found.st_dev && locked.st_ino == found.st_ino)
        {
            own_lock() = path;
            return;
        }
        close(handle);
    }
}
}
#endif
