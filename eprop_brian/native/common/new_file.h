// Files that are made, and never what a link of the same name leads to.
#ifndef EPROP_BRIAN_NEW_FILE_H
#define EPROP_BRIAN_NEW_FILE_H

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
}
#endif
