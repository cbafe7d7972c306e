// A network on a GPU: runs whenever it is asked to (calls.h), with arrays that live there.
#define EPROP_BRIAN_CUDA
#include "arrays.h"
#include "calls.h"

#include "program.cu"
#include "table.h"

int main(int argc, char** argv)
{
    const std::vector<std::string> args(argv + 1, argv + argc);
    const eprop_brian::Memory memory = eprop_brian::allocate();
    eprop_brian::Arrays arrays = eprop_brian::table(memory);
    eprop_brian::initialize(arrays);
    while (eprop_brian::next_call(arrays, args)) eprop_brian::run_call(memory);
    std::_Exit(0);
}
