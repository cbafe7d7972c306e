// Data that belong to src/: the network takes indices from them, so only these very files will do.
#ifndef EPROP_BRIAN_DATA_H
#define EPROP_BRIAN_DATA_H

#include <string>

#include "../common/crc32.h"
#include "../common/errors.h"
#include "archive.h"
#include "description.h"
#include "files.h"

namespace eprop_brian
{
// A file of data/ of an exported project.
inline Archive own_data(const std::string& project, const std::string& name)
{
    const std::string path = project + "/data/" + name, file = read_file(path);
    if (crc32(file.data(), file.size()) != description.sums.at(name))
        throw Error(path + " is not the file that src/ was written for: export the project anew");
    return Archive::of(file, path);
}
}
#endif
