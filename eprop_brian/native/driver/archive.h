// NumPy's files of arrays (.npz): stored zip archives of .npy members, read and written.
#ifndef EPROP_BRIAN_ARCHIVE_H
#define EPROP_BRIAN_ARCHIVE_H

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "../common/crc32.h"
#include "../common/errors.h"
#include "../common/npy_header.h"
#include "files.h"

namespace eprop_brian
{
// An array of numbers as a file holds it, in rows ("C order").
struct Numbers
{
    std::string type;  // as NumPy writes it: <f8, <i4, |b1, ...
    Shape shape;
    std::string bytes;

    std::size_t size() const { return elements(shape); }

    bool is_float() const { return type[1] == 'f'; }

    std::string shape_text() const { return eprop_brian::shape_text(shape); }

    std::vector<double> doubles() const { return converted<double>(); }
    std::vector<std::int64_t> integers() const { return converted<std::int64_t>(); }

    static Numbers of(const std::vector<double>& values, const Shape& shape)
    {
        return {"<f8", shape, std::string((const char*)values.data(), 8*values.size())};
    }
    static Numbers of(std::int64_t value)
    {
        return {"<i8", {}, std::string((const char*)&value, sizeof value)};
    }

private:
    template <typename To, typename From> std::vector<To> as() const
    {
        std::vector<From> values(size());
        if (!values.empty())
            std::memcpy(values.data(), bytes.data(), sizeof(From)*values.size());
        return std::vector<To>(values.begin(), values.end());
    }

    template <typename To> std::vector<To> converted() const
    {
        const std::string kind = type.substr(1);
        if (kind == "f8")
            return as<To, double>();
        if (kind == "f4")
            return as<To, float>();
        if (kind == "i8")
            return as<To, std::int64_t>();
        if (kind == "u8")
            return as<To, std::uint64_t>();
        if (kind == "i4")
            return as<To, std::int32_t>();
        if (kind == "u4")
            return as<To, std::uint32_t>();
        if (kind == "i2")
            return as<To, std::int16_t>();
        if (kind == "u2")
            return as<To, std::uint16_t>();
        if (kind == "i1")
            return as<To, std::int8_t>();
        return as<To, std::uint8_t>();
    }
};

// Named arrays in the order of their file.
class Archive
{
public:
    std::vector<std::pair<std::string, Numbers>> members;

    bool has(const std::string& name) const { return find(name) != nullptr; }

    const Numbers& at(const std::string& name) const
    {
        const Numbers* found = find(name);
        if (!found)
            throw Error(path + ": there is no array '" + name + "'");
        return *found;
    }

    static Archive read(const std::string& path) { return of(read_file(path), path); }

    static Archive of(const std::string& file, const std::string& path)
    {
        Archive archive;
        archive.path = path;
        try
        {
            archive.read_members(file);
        }
        catch (const std::out_of_range&)
        {
            throw Error(path + ": not an .npz, or damaged");
        }
        return archive;
    }

    void write(const std::string& to) const
    {
        std::string file, directory;
        for (const auto& member : members)
        {
            const std::string name = member.first + ".npy", data = encoded(member.second);
            if (file.size() + data.size() >= 0xffffffffu)
                throw Error(to + ": more than 4 GB cannot be written to one .npz");
            // Version 2.0, stored, dated 1 January 1980 as NumPy's own.
            std::string common;
            put(common, 20, 2);
            put(common, 0, 2);
            put(common, 0, 2);
            put(common, 0, 2);
            put(common, 0x21, 2);
            put(common, crc32(data.data(), data.size()), 4);
            put(common, data.size(), 4);
            put(common, data.size(), 4);
            put(common, name.size(), 2);
            put(common, 0, 2);
            directory += "PK\1\2";
            put(directory, 20, 2);
            directory += common;
            put(directory, 0, 2);  // comment, disk, attributes
            put(directory, 0, 2);
            put(directory, 0, 2);
            put(directory, 0600u << 16, 4);
            put(directory, file.size(), 4);
            directory += name;
            file += "PK\3\4" + common + name + data;
        }
        std::string end = "PK\5\6";
        put(end, 0, 4);
        put(end, members.size(), 2);
        put(end, members.size(), 2);
        put(end, directory.size(), 4);
        put(end, file.size(), 4);
        put(end, 0, 2);
        write_file(to, file + directory + end);
    }

private:
    std::string path = "archive";

    const Numbers* find(const std::string& name) const
    {
        for (const auto& member : members)
            if (member.first == name)
                return &member.second;
        return nullptr;
    }

    static void put(std::string& to, std::uint64_t number, int bytes)
    {
        for (int i = 0; i < bytes; i++)
            to += (char)(number >> (8*i));
    }

    // A number at a place; throws std::out_of_range beyond the end.
    static std::uint64_t number(const std::string& file, std::size_t place, int bytes)
    {
        std::uint64_t value = 0;
        for (int i = 0; i < bytes; i++)
            value |= (std::uint64_t)(unsigned char)file.at(place + i) << (8*i);
        return value;
    }

    void read_members(const std::string& file)
    {
        const std::size_t end = file.rfind("PK\5\6");
        if (end == std::string::npos)
            throw std::out_of_range("end");
        std::uint64_t count = number(file, end + 10, 2), place = number(file, end + 16, 4);
        if (place == 0xffffffffu || count == 0xffff)
        {
            // zip64: its own end stands before this one, and a locator between them.
            const std::uint64_t wide = number(file, end - 20 + 8, 8);
            count = number(file, wide + 32, 8);
            place = number(file, wide + 48, 8);
        }
        for (std::uint64_t i = 0; i < count; i++)
        {
            const std::size_t method = number(file, place + 10, 2);
            const std::size_t name_size = number(file, place + 28, 2);
            const std::size_t extra_size = number(file, place + 30, 2);
            const std::string name = file.substr(place + 46, name_size);
            std::uint64_t size = number(file, place + 24, 4), start = number(file, place + 42, 4);
            const bool packed_size = number(file, place + 20, 4) == 0xffffffffu;
            std::size_t extra = place + 46 + name_size;
            const std::size_t extra_end = extra + extra_size;
            for (; extra < extra_end; extra += 4 + number(file, extra + 2, 2))
            {
                if (number(file, extra, 2) != 1)
                    continue;
                std::size_t field = extra + 4;
                if (size == 0xffffffffu)
                {
                    size = number(file, field, 8);
                    field += 8;
                }
                field += packed_size ? 8 : 0;
                if (start == 0xffffffffu)
                    start = number(file, field, 8);
            }
            if (method != 0)
                throw Error(
                    path + ": its arrays are compressed; write them with numpy.savez, not with "
                    "numpy.savez_compressed");
            const std::size_t data =
                start + 30 + number(file, start + 26, 2) + number(file, start + 28, 2);
            if (data > file.size() || size > file.size() - data ||
                crc32(&file[data], size) != number(file, place + 16, 4))
                throw Error(path + ": '" + name + "' is damaged");
            members.emplace_back(
                name.size() > 4 ? name.substr(0, name.size() - 4) : name,
                decoded(name, file, data, size));
            place += 46 + name_size + extra_size + number(file, place + 32, 2);
        }
    }

    // A member: magic string, length of a header in the notation of Python, the numbers.
    Numbers decoded(
        const std::string& name, const std::string& file, std::size_t begin, std::size_t size) const
    {
        const std::string where = path + ": '" + name + "' ";
        if (size < 12 || file.compare(begin, 6, "\x93NUMPY", 6) != 0)
            throw Error(where + "is not an array");
        const int width = file[begin + 6] == 1 ? 2 : 4;
        const std::size_t length = number(file, begin + 8, width), text = begin + 8 + width;
        if (length > size - 8 - width)
            throw Error(where + "is damaged");
        NpyHeader header;
        const std::string problem = header.parse(file.substr(text, length));
        if (!problem.empty())
            throw Error(where + problem);
        if (size - (text + length - begin) != header.bytes())
            throw Error(where + "is damaged");
        return {header.type, header.shape, file.substr(text + length, header.bytes())};
    }

    static std::string encoded(const Numbers& array)
    {
        return NpyHeader{array.type, array.shape}.text() + array.bytes;
    }
};
}
#endif
