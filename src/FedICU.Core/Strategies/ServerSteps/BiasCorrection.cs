namespace FedICU;

/// <summary>
/// How a server optimizer corrects its moments for their start at zero. T is the round's number from 1.
/// </summary>
public enum BiasCorrection
{
    /// <summary>Not at all: the default, as the paper has it.</summary>
    None,
    /// <summary>The learning rate is multiplied by sqrt(1 - beta2^T) / (1 - beta1^T), as in Keras and TFF.</summary>
    Folded,
    /// <summary>m / (1 - beta1^T) over sqrt(v / (1 - beta2^T)) + tau, as in PyTorch.</summary>
    Torch,
    /// <summary>As <see cref="Folded"/> with T + 1, as in Flower.</summary>
    Flower,
}
