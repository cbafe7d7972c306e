// The sum that zip archives, and NumPy's .npz with them, keep of their members.
#ifndef EPROP_BRIAN_CRC32_H
#define EPROP_BRIAN_CRC32_H

#include <cstddef>
#include <cstdint>
#include <vector>

namespace eprop_brian
{
inline std::uint32_t crc32(const char* data, std::size_t size)
{
    static const std::vector<std::uint32_t> table = [] {
        std::vector<std::uint32_t> entries(256);
        for (std::uint32_t i = 0; i < 256; i++)
        {
            entries[i] = i;
            for (int bit = 0; bit < 8; bit++)
                entries[i] = (entries[i] >> 1) ^ (entries[i] & 1 ? 0xedb88320u : 0u);
        }
        return entries;
    }();
    std::uint32_t sum = 0xffffffffu;
    for (std::size_t i = 0; i < size; i++)
        sum = table[(sum ^ (unsigned char)data[i]) & 255] ^ (sum >> 8);
    return ~sum;
}
}
#endif
