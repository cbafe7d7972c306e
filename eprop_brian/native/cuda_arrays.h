// The arrays of a network on a GPU, as the generated table.h lists them.
#ifndef EPROP_BRIAN_CUDA_ARRAYS_H
#define EPROP_BRIAN_CUDA_ARRAYS_H

#include <cstdint>
#include <map>
#include <string>

#include "device.h"

namespace eprop_brian
{
struct Array
{
    void* data;
    std::uint64_t bytes;
    // of the array that every trial has for itself: how many there are, and how far apart
    int copies;
    std::uint64_t stride;
};

typedef std::map<std::string, Array> Arrays;

inline void put(const Array& array, const void* values)
{
    for (int copy = 0; copy < array.copies; copy++)
        check(cudaMemcpy((char*)array.data + copy*array.stride, values, array.bytes,
                         cudaMemcpyHostToDevice), "an array cannot be set");
}

inline void take(const Array& array, void* values)
{
    const int copy = array.copies > 1 ? shown_copy() : 0;
    check(cudaMemcpy(values, (char*)array.data + copy*array.stride, array.bytes,
                     cudaMemcpyDeviceToHost), "an array cannot be read");
}
}
#endif
