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

#include "common/errors.h"
#include "common/new_file.h"
#include "common/npy_header.h"

namespace eprop_brian
{
// A file of numbers or bool in rows.
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
            wrong("is not an .npy file");
        std::size_t length = start[8] + 256*start[9];
        if (start[6] > 1)
        {
            read_bytes(start + 10, 2);
            length += ((std::size_t)start[10] << 16) + ((std::size_t)start[11] << 24);
        }
        if (length > 65536)
            wrong("has a damaged header");
        std::string text(length, ' ');
        read_bytes(&text[0], length);
        const std::string problem = header.parse(text);
        if (!problem.empty())
            wrong(problem);
        const long first = std::ftell(file);
        std::fseek(file, 0, SEEK_END);
        if ((std::size_t)(std::ftell(file) - first) != header.bytes())
            wrong("does not hold the numbers that its header tells of");
        std::fseek(file, first, SEEK_SET);
    }
    ~NpyReader() { std::fclose(file); }
    NpyReader(const NpyReader&) = delete;
    NpyReader& operator=(const NpyReader&) = delete;

    // The next numbers, whatever their type in the file.
    std::vector<double> read(std::size_t count)
    {
        bytes.resize(count*header.width());
        read_bytes(bytes.data(), bytes.size());
        const std::string kind = header.type.substr(1);
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

    [[noreturn]] void wrong(const std::string& problem) const { throw Error(path + ": " + problem); }

    NpyHeader header;

private:
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

// Written beside its place, and renamed when all of it is there; else nothing stays.
class NpyWriter
{
public:
    // `type` as NumPy writes it: <f8, |b1, ...
    NpyWriter(const std::string& path, const std::string& type, const Shape& shape)
        : path(path), file(new_file(path + ".part"))
    {
        if (!file)
            wrong();
        const std::string start = NpyHeader{type, shape}.text();
        write(start.data(), start.size());
    }
    ~NpyWriter()
    {
        if (!file)
            return;
        std::fclose(file);
        std::remove((path + ".part").c_str());
    }
    NpyWriter(const NpyWriter&) = delete;
    NpyWriter& operator=(const NpyWriter&) = delete;

    void write(const void* values, std::size_t bytes)
    {
        if (std::fwrite(values, 1, bytes, file) != bytes)
            wrong();
    }

    void finish()
    {
        std::FILE* const whole = file;
        file = nullptr;
        if (!put_in_place(whole, path + ".part", path))
            wrong();
    }

private:
    [[noreturn]] void wrong() const
    {
        const std::string reason = std::strerror(errno);
        std::remove((path + ".part").c_str());
        throw Error("cannot write " + path + ": " + reason);
    }

    std::string path;
    std::FILE* file;
};
}
#endif
