// Mistakes of the user or of a file: shown as one message, without a core dump.
#ifndef EPROP_BRIAN_ERRORS_H
#define EPROP_BRIAN_ERRORS_H

#include <cstddef>
#include <stdexcept>
#include <string>

namespace eprop_brian
{
// The text with a question mark for every character that would act on a terminal; line feeds stay.
inline std::string printable(const std::string& text)
{
    std::string shown;
    for (std::size_t i = 0; i < text.size(); i++)
    {
        const unsigned char byte = text[i], next = i + 1 < text.size() ? text[i + 1] : 0;
        // In UTF-8 the controls from 0x80 to 0x9f are these two bytes.
        const bool is_long = byte == 0xc2 && next >= 0x80 && next < 0xa0;
        shown += (byte < 0x20 && byte != '\n') || byte == 0x7f || is_long ? '?' : text[i];
        i += is_long;
    }
    return shown;
}

struct Error : std::runtime_error
{
    explicit Error(const std::string& text) : std::runtime_error(printable(text)) {}
};

// A wrong option of the command line.
struct UsageError : Error
{
    using Error::Error;
};
}
#endif
