// NumPy's files of one array (.npy), read and written a piece at a time.
#ifndef EPROP_BRIAN_NPY_H
#define EPROP_BRIAN_NPY_H

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "arrays.h"

namespace eprop_brian
{
typedef std::vector<std::size_t> Shape;

inline std::string shape_text(const Shape& shape)
{
    std::string text = "(";
    for (std::size_t i = 0; i < shape.size(); i++)
        text += (i ? ", " : "") + std::to_string(shape[i]);
    return text + (shape.size() == 1 ? ",)" : ")");
}

inline std::size_t elements(const Shape& shape)
{
    std::size_t product = 1;
    for (std::size_t i = 0; i < shape.size(); i++)
        product *= shape[i];
    return product;
}

// A file of numbers or bool in rows. Whatever is wrong with it ends the program with a message.
class NpyReader
{
public:
    explicit NpyReader(const std::string& path) : path(path), file(std::fopen(path.c_str(), "rb"))
    {
        if (!file)
            wrong(std::strerror(errno));
        unsigned char start[12];
        read_bytes(start, 10);
        if (std::memcmp(start, "\x93NUMPY", 6) != 0 || start[6] < 1 || start[6] > 3)
            wrong("is no .npy file");
        std::size_t length = start[8] + 256*start[9];
        if (start[6] > 1)
        {
            read_bytes(start + 10, 2);
            length += ((std::size_t)start[10] << 16) + ((std::size_t)start[11] << 24);
        }
        if (length > 65536)
            wrong("has a damaged header");
        std::string header(length, ' ');
        read_bytes(&header[0], length);
        parse(header);
        const long first = std::ftell(file);
        std::fseek(file, 0, SEEK_END);
        if ((std::size_t)(std::ftell(file) - first) != elements(shape)*width())
            wrong("does not hold the numbers that its header tells of");
        std::fseek(file, first, SEEK_SET);
    }
    ~NpyReader() { std::fclose(file); }
    NpyReader(const NpyReader&) = delete;
    NpyReader& operator=(const NpyReader&) = delete;

    // The next numbers, whatever their type in the file.
    std::vector<double> read(std::size_t count)
    {
        bytes.resize(count*width());
        read_bytes(bytes.data(), bytes.size());
        if (kind == "f8")
            return as<double>(count);
        if (kind == "f4")
            return as<float>(count);
        if (kind == "i8")
            return as<std::int64_t>(count);
        if (kind == "u8")
            return as<std::uint64_t>(count);
        if (kind == "i4")
            return as<std::int32_t>(count);
        if (kind == "u4")
            return as<std::uint32_t>(count);
        if (kind == "i2")
            return as<std::int16_t>(count);
        if (kind == "u2")
            return as<std::uint16_t>(count);
        if (kind == "i1")
            return as<std::int8_t>(count);
        return as<std::uint8_t>(count);
    }

    void read_bytes(void* target, std::size_t size)
    {
        if (std::fread(target, 1, size, file) != size)
            wrong("ends too early");
    }

    void wrong(const std::string& problem) const { fail(path + ": " + problem); }

    std::size_t width() const { return kind[1] - '0'; }

    std::string kind;  // as NumPy writes it, without the order of bytes: f8, i4, b1, ...
    Shape shape;

private:
    void parse(const std::string& header)
    {
        const std::string type = after(header, "'descr':");
        const std::string known[] = {"f8", "f4", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "b1"};
        for (const std::string& name : known)
            if (type.compare(2, 2, name) == 0 && type.compare(4, 1, "'") == 0)
                kind = name;
        if (kind.empty() || type[0] != '\'' || type[1] == '>')
            wrong("must hold bool, whole numbers or floats in this machine's order of bytes");
        if (after(header, "'fortran_order':").compare(0, 5, "False") != 0)
            wrong("is stored by columns; save numpy.ascontiguousarray of it");
        const std::string extents = after(header, "'shape':");
        std::size_t i = 1;
        while (i < extents.size() && extents[i] != ')')
        {
            if (extents[i] < '0' || extents[i] > '9')
            {
                i++;
                continue;
            }
            char* end;
            shape.push_back(std::strtoull(extents.c_str() + i, &end, 10));
            i = end - extents.c_str();
        }
    }

    std::string after(const std::string& header, const std::string& key) const
    {
        const std::size_t found = header.find(key);
        if (found == std::string::npos)
            wrong("has a damaged header");
        const std::size_t first = header.find_first_not_of(' ', found + key.size());
        return first == std::string::npos ? std::string() : header.substr(first);
    }

    template <typename T> std::vector<double> as(std::size_t count) const
    {
        std::vector<T> values(count);
        if (count)
            std::memcpy(values.data(), bytes.data(), bytes.size());
        return std::vector<double>(values.begin(), values.end());
    }

    std::string path;
    std::FILE* file;
    std::vector<char> bytes;
};

// Written beside its place, and renamed when all of it is there.
class NpyWriter
{
public:
    // `type` as NumPy writes it: <f8, |b1, ...
    NpyWriter(const std::string& path, const std::string& type, const Shape& shape)
        : path(path), file(std::fopen((path + ".part").c_str(), "wb"))
    {
        if (!file)
            wrong();
        std::string header = "{'descr': '" + type + "', 'fortran_order': False, 'shape': " +
            shape_text(shape) + ", }";
        // Numbers begin at a multiple of 64 bytes.
        header.append(63 - (header.size() + 10)%64, ' ');
        header += '\n';
        const unsigned char start[] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0,
            (unsigned char)(header.size()%256), (unsigned char)(header.size()/256)};
        write(start, sizeof start);
        write(header.data(), header.size());
    }

    void write(const void* values, std::size_t bytes)
    {
        if (std::fwrite(values, 1, bytes, file) != bytes)
            wrong();
    }

    void finish()
    {
        if (std::fclose(file) != 0 || std::rename((path + ".part").c_str(), path.c_str()) != 0)
            wrong();
    }

private:
    void wrong() const
    {
        const std::string reason = std::strerror(errno);
        std::remove((path + ".part").c_str());
        fail("cannot write " + path + ": " + reason);
    }

    std::string path;
    std::FILE* file;
};
}
#endif
