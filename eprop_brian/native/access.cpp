// The arrays and calls of a network on the CPU: see program.h.
#include "program.h"

#include <cstring>
#include <map>

#include "arrays.h"

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
}

bool has_array(const std::string& key) { return find(key); }

std::uint64_t array_bytes(const std::string& key) { return entry(key).bytes; }

void set_array(const std::string& key, const void* values)
{
    const Entry& array = entry(key);
    std::memcpy(array.data, values, array.bytes);
}

void run_network() { run_call(); }

void get_array(const std::string& key, void* values)
{
    const Entry& array = entry(key);
    std::memcpy(values, array.data, array.bytes);
}
}
