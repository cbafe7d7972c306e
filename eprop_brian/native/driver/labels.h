// Sequences of labels: what frames say, and how far that is from right (eprop_brian/tasks/labels.py).
#ifndef EPROP_BRIAN_LABELS_H
#define EPROP_BRIAN_LABELS_H

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace eprop_brian
{
// The labels of a row, which ends with -1 or with its last.
inline std::vector<int> present_labels(const std::int32_t* row, int most)
{
    std::vector<int> labels;
    for (int i = 0; i < most && row[i] >= 0; i++)
        labels.push_back(row[i]);
    return labels;
}

// The labels of the frames' largest outputs, the last of which is the blank, also where others are as
// large; frames are `row` numbers apart.
inline std::vector<int> greedy_labels(const double* outputs, int n_frames, int n, int row)
{
    std::vector<int> labels;
    int before = n - 1;
    for (int frame = 0; frame < n_frames; frame++)
    {
        const double* const own = outputs + (std::size_t)frame*row;
        const double* const most = std::max_element(own, own + n);
        const int best = own[n - 1] >= *most ? n - 1 : most - own;
        if (best != before && best != n - 1)
            labels.push_back(best);
        before = best;
    }
    return labels;
}

// The fewest insertions, deletions and substitutions that make one sequence of the other.
inline int edit_distance(const std::vector<int>& first, const std::vector<int>& second)
{
    std::vector<int> row(second.size() + 1);
    for (std::size_t j = 0; j < row.size(); j++)
        row[j] = j;
    for (std::size_t i = 0; i < first.size(); i++)
    {
        int diagonal = row[0];
        row[0] = i + 1;
        for (std::size_t j = 0; j < second.size(); j++)
        {
            const int substituted = diagonal + (first[i] != second[j]);
            diagonal = row[j + 1];
            row[j + 1] = std::min({substituted, diagonal + 1, row[j] + 1});
        }
    }
    return row.back();
}

// What is wrong with the labels of a target, whose steps are part of the frames `periods`; "" if
// nothing is.
inline std::string wrong_labels(
    const std::int32_t* labels, int most, const std::int32_t* periods, int n_steps, int n_labels)
{
    const std::vector<int> own = present_labels(labels, most);
    for (int i = 0; i < most; i++)
        if (labels[i] >= n_labels || labels[i] < -1 || (i >= (int)own.size() && labels[i] != -1))
            return "labels must be 0 to " + std::to_string(n_labels - 1) +
                   ", and -1 from the end of a sequence on";
    const int n_frames = *std::max_element(periods, periods + n_steps);
    for (int frame = 1; frame <= n_frames; frame++)
        if (std::find(periods, periods + n_steps, frame) == periods + n_steps)
            return "no step is part of frame " + std::to_string(frame);
    int needed = own.size();
    for (std::size_t i = 1; i < own.size(); i++)
        needed += own[i] == own[i - 1];
    if (needed > n_frames)
        return std::to_string(own.size()) + " labels need " + std::to_string(needed) +
               " frames, but there are " + std::to_string(n_frames);
    return "";
}
}
#endif
