using static TorchSharp.torch;

namespace FedICU.Experiments;

/// <summary>Adds what a method adds to the gradient of a factor at a client.</summary>
internal delegate void GradientTerm(string name, Tensor factor, Tensor gradient);
