using TorchSharp;
using static TorchSharp.torch;
using Parameter = TorchSharp.Modules.Parameter;

namespace FedICU.Experiments;

/// <summary>
/// AdamW by TorchSharp's own formula and order of operations, with scalars that live until native code has read them.
/// TorchSharp's optimizers drop theirs before.
/// </summary>
/// <param name="parameters">The parameters to train. The caller disposes them.</param>
/// <param name="decay">The weight decay.</param>
/// <param name="beta2">The decay of the second moment.</param>
internal sealed class AdamW(IReadOnlyList<Parameter> parameters, double decay, double beta2 = 0.999) : IDisposable
{
    // PyTorch's defaults
    private const double Beta1 = 0.9;
    private const double Epsilon = 1e-8;

    private readonly (Tensor First, Tensor Second)[] _moments =
        [.. parameters.Select(parameter => (ZerosLike(parameter), ZerosLike(parameter)))];

    private int _step;

    public void ClearGradients()
    {
        foreach (Parameter parameter in parameters)
        {
            using Tensor? gradient = parameter.grad;
            gradient?.zero_();
        }
    }

    /// <summary>Moves the parameters by their gradients.</summary>
    public void Step(double learningRate)
    {
        _step++;
        // each "using" keeps a scalar alive to the end of the method
        using Scalar keep = 1 - learningRate * decay, keepFirst = Beta1, addFirst = 1 - Beta1, keepSecond = beta2, addSecond = 1 - beta2;
        using Scalar root = Math.Sqrt(1 - Math.Pow(beta2, _step)), epsilon = Epsilon, size = -(learningRate / (1 - Math.Pow(Beta1, _step)));
        // without it, add_ would make a scalar of its own
        using Scalar one = 1;
        using IDisposable noGradients = no_grad();
        using DisposeScope scope = NewDisposeScope();
        foreach ((Parameter parameter, (Tensor first, Tensor second)) in parameters.Zip(_moments))
        {
            if (parameter.grad is not { } gradient)
                continue;
            parameter.mul_(keep);
            first.mul_(keepFirst).add_(gradient, addFirst);
            second.mul_(keepSecond).addcmul_(gradient, gradient, addSecond);
            parameter.addcdiv_(first, second.sqrt().div(root).add_(epsilon, one), size);
        }
    }

    public void Dispose()
    {
        foreach ((Tensor first, Tensor second) in _moments)
        {
            first.Dispose();
            second.Dispose();
        }
    }

    private static Tensor ZerosLike(Tensor tensor) => zeros_like(tensor).DetachFromDisposeScope();
}
