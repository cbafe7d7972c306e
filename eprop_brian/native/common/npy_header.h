// What stands in NumPy's files of one array (.npy) before the numbers.
#ifndef EPROP_BRIAN_NPY_HEADER_H
#define EPROP_BRIAN_NPY_HEADER_H

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

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
    for (const std::size_t extent : shape)
        product *= extent;
    return product;
}

// The header's dictionary, in the notation of Python.
struct NpyHeader
{
    std::string type;  // as NumPy writes it: <f8, <i4, |b1, ...
    Shape shape;

    std::size_t width() const { return type[2] - '0'; }
    std::size_t bytes() const { return elements(shape)*width(); }

    // Read the text; returns what is wrong with it, "" if nothing.
    std::string parse(const std::string& text)
    {
        const std::string quoted = after(text, "'descr':"), order = after(text, "'fortran_order':"),
                          extents = after(text, "'shape':");
        if (quoted.empty() || order.empty() || extents.empty() || extents[0] != '(' ||
            extents.find(')') == std::string::npos)
            return "has a damaged header";
        for (const char* known : {"<f8", "<f4", "<i8", "<u8", "<i4", "<u4", "<i2", "<u2", "|i1",
                                  "|u1", "|b1"})
            if (quoted.compare(0, 5, "'" + std::string(known) + "'") == 0)
                type = known;
        if (type.empty())
            return "must hold bool, whole numbers or floats in this machine's order of bytes";
        for (std::size_t i = 1; extents[i] != ')';)
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
        // Of columns with one entry each, rows are the same.
        if (order.compare(0, 5, "False") != 0 && shape.size() > 1)
            return "is stored by columns; save numpy.ascontiguousarray of it";
        std::size_t most = SIZE_MAX/width();
        for (const std::size_t extent : shape)
        {
            if (extent > most)
                return "has a damaged header";
            most /= extent ? extent : 1;
        }
        return "";
    }

    // All that stands before the numbers, which begin at a multiple of 64 bytes.
    std::string text() const
    {
        std::string header = "{'descr': '" + type + "', 'fortran_order': False, 'shape': " +
                             shape_text(shape) + ", }";
        header += std::string(63 - (10 + header.size())%64, ' ') + '\n';
        std::string start("\x93NUMPY\x01\x00", 8);
        start += (char)(header.size()%256);
        start += (char)(header.size()/256);
        return start + header;
    }

private:
    static std::string after(const std::string& text, const std::string& key)
    {
        const std::size_t found = text.find(key);
        const std::size_t first =
            found == std::string::npos ? found : text.find_first_not_of(' ', found + key.size());
        return first == std::string::npos ? std::string() : text.substr(first);
    }
};
}
#endif
