// Files as a whole: a reader never sees half of one.
#ifndef EPROP_BRIAN_FILES_H
#define EPROP_BRIAN_FILES_H

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <sys/stat.h>

#include "../common/errors.h"

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

// Written beside its place, then renamed.
inline void write_file(const std::string& path, const std::string& content)
{
    const std::string beside = path + ".part";
    {
        std::ofstream file(beside, std::ios::binary);
        file << content;
        file.flush();
        if (!file)
        {
            const std::string reason = std::strerror(errno);
            std::remove(beside.c_str());
            throw Error("cannot write " + path + ": " + reason);
        }
    }
    if (std::rename(beside.c_str(), path.c_str()) != 0)
        throw Error("cannot write " + path + ": " + std::strerror(errno));
}

inline void make_folder(const std::string& path)
{
    // Those above it too; one that cannot be made shows below.
    for (std::size_t end = path.find('/', 1); end != std::string::npos; end = path.find('/', end + 1))
        mkdir(path.substr(0, end).c_str(), 0777);
    if (mkdir(path.c_str(), 0777) != 0 && errno != EEXIST)
        throw Error("cannot make the folder " + path + ": " + std::strerror(errno));
}
}
#endif
