// The arrays and calls of a network on a GPU: see program.h.
#include "program.h"

#include "cuda_arrays.h"
#include "program.cu"
#include "table.h"

namespace eprop_brian
{
namespace
{
// Made when it is first asked for: other errors come before that of a machine without a GPU.
struct Device
{
    const Memory memory;
    Arrays arrays;

    Device() : memory(allocate()), arrays(table(memory)) { initialize(arrays); }

    static Device& get()
    {
        static Device device;
        return device;
    }
};

const Array& entry(const std::string& key)
{
    const Arrays& arrays = Device::get().arrays;
    const Arrays::const_iterator place = arrays.find(key);
    if (place == arrays.end())
    {
        std::fprintf(stderr, "the network does not have the array %s\n", key.c_str());
        std::_Exit(1);
    }
    return place->second;
}
}

bool has_array(const std::string& key) { return Device::get().arrays.count(key) > 0; }

std::uint64_t array_bytes(const std::string& key) { return entry(key).bytes; }

void set_array(const std::string& key, const void* values) { put(entry(key), values); }

void run_network() { run_call(Device::get().memory); }

void get_array(const std::string& key, void* values) { take(entry(key), values); }
}
