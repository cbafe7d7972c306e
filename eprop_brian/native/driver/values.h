// Arrays of the compiled network (../program.h) as numbers, whatever their types.
#ifndef EPROP_BRIAN_VALUES_H
#define EPROP_BRIAN_VALUES_H

#include <cstdint>
#include <string>
#include <vector>

#include "../common/errors.h"
#include "../program.h"
#include "description.h"

namespace eprop_brian
{
// The bytes of numbers.
template <typename T> std::string raw(const std::vector<T>& values)
{
    return std::string((const char*)values.data(), sizeof(T)*values.size());
}

inline char type_of(const std::string& name) { return description.types.at(name); }

// How many numbers an array has.
inline std::size_t size_of(const std::string& name)
{
    if (!has_array(name))
        throw Error("the network does not have the array " + name + ": src/ and data/ do not fit");
    return array_bytes(name)/(type_of(name) == 'd' ? 8 : 4);
}

// Set an array; the rest of it is 0.
inline void put_bytes(const std::string& name, std::string bytes)
{
    const std::size_t size = array_bytes(name);
    if (bytes.size() > size)
        throw Error("values for " + name + " do not fit");
    bytes.resize(size, '\0');
    set_array(name, bytes.data());
}

inline void put_values(const std::string& name, const std::vector<double>& values)
{
    switch (type_of(name))
    {
    case 'd':
        return put_bytes(name, raw(values));
    case 'f':
        return put_bytes(name, raw(std::vector<float>(values.begin(), values.end())));
    default:
        for (const double value : values)
            if (!(value >= INT32_MIN && value <= INT32_MAX))
                throw Error("values for " + name + " are not whole numbers of 32 bits");
        return put_bytes(name, raw(std::vector<std::int32_t>(values.begin(), values.end())));
    }
}

template <typename T> std::vector<double> numbers_of(const std::string& name)
{
    std::vector<T> values(array_bytes(name)/sizeof(T));
    get_array(name, values.data());
    return std::vector<double>(values.begin(), values.end());
}

inline std::vector<double> get_values(const std::string& name)
{
    switch (type_of(name))
    {
    case 'd':
        return numbers_of<double>(name);
    case 'f':
        return numbers_of<float>(name);
    default:
        return numbers_of<std::int32_t>(name);
    }
}
}
#endif
