// A compiled network: runs whenever it is asked to (calls.h).
#include "arrays.h"
#include "calls.h"

#include "program.cpp"

int main(int argc, char** argv)
{
    const std::vector<std::string> args(argv + 1, argv + argc);
    eprop_brian::Arrays arrays = eprop_brian::table();
    while (eprop_brian::next_call(arrays, args)) eprop_brian::run_call();
    std::_Exit(0);
}
