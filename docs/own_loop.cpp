// Trains the network of an exported project in a loop of its own: PROJECT ITERATIONS.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "driver/eprop.h"

using namespace eprop_brian;

int main(int count, char** arguments)
{
    if (count != 3)
        return std::fprintf(stderr, "Usage: own_loop PROJECT ITERATIONS\n"), 2;
    const std::string project = arguments[1];
    const int iterations = std::atoi(arguments[2]), batch_size = description.batch_size;
    try
    {
        Network network(project);
        const std::unique_ptr<TrialSource> task = task_trials(project, description.seed);
        for (int i = 0; i < iterations; i++)
        {
            const Trials trials = task->batches("train", i, 1, batch_size);
            const Outcome outcome = network.run(trials, batch_size, true);
            std::printf("%d: loss %.15g\n", i + 1, mean(outcome.loss));
            network.learning_rate *= 0.9;
        }
        network.save("trained.npz");
        // How much does the network miss the weaker half of its input weights?
        std::vector<double> weights = network.get("w_in"), sizes(weights);
        for (double& size : sizes)
            size = std::fabs(size);
        std::nth_element(sizes.begin(), sizes.begin() + sizes.size()/2, sizes.end());
        for (double& weight : weights)
            if (std::fabs(weight) < sizes[sizes.size()/2])
                weight = 0;
        network.set("w_in", weights);
        const Trials tests = task->batches("test", 0, 1, batch_size);
        const Outcome test = network.run(tests, batch_size, false);
        std::printf("pruned: loss %.15g\n", mean(test.loss));
    }
    catch (const Error& error)
    {
        std::fprintf(stderr, "Error: %s\n", error.what());
        return 1;
    }
}
