// Mistakes of the user or of a file: shown as one message, without a core dump.
#ifndef EPROP_BRIAN_ERRORS_H
#define EPROP_BRIAN_ERRORS_H

#include <stdexcept>
#include <string>

namespace eprop_brian
{
struct Error : std::runtime_error
{
    using std::runtime_error::runtime_error;
};

// A wrong option of the command line.
struct UsageError : Error
{
    using Error::Error;
};
}
#endif
