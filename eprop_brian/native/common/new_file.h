// Files that are made, and never what a link of the same name leads to.
#ifndef EPROP_BRIAN_NEW_FILE_H
#define EPROP_BRIAN_NEW_FILE_H

#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <string>
#include <unistd.h>

namespace eprop_brian
{
// Open a file to write to, in place of one that an earlier process may have left; null on failure.
inline std::FILE* new_file(const std::string& path)
{
    unlink(path.c_str());
    const int handle = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    return handle < 0 ? nullptr : fdopen(handle, "wb");
}

// Have the system write a file, or what stands in a folder, to the disk; false on failure.
inline bool store(int handle)
{
    // Some file systems store nothing by request.
    return fsync(handle) == 0 || errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP;
}

// Close a file that was written beside its place, once it is on the disk, and rename it.
inline bool put_in_place(std::FILE* file, const std::string& beside, const std::string& path)
{
    bool done = std::fflush(file) == 0 && store(fileno(file));
    done = std::fclose(file) == 0 && done;
    if (!done || std::rename(beside.c_str(), path.c_str()) != 0)
        return false;
    const std::size_t slash = path.rfind('/');
    const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
    const int handle = open(folder.c_str(), O_RDONLY | O_CLOEXEC);
    if (handle < 0)
        return true;  // a folder that may be written, but not read
    const bool stored = store(handle);
    close(handle);
    return stored;
}
}
#endif
