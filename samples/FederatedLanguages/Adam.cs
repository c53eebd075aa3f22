using System.Runtime.Intrinsics;

namespace FederatedLanguages;

/// <summary>Adam (Kingma and Ba, 2015) for one matrix.</summary>
internal sealed class Adam(Matrix parameters)
{
    // decay of the gradient's mean; the paper's value
    private const float Beta1 = 0.9f;

    // decay of the squared gradient's mean; chosen (the paper suggests 0.999)
    private const float Beta2 = 0.99f;

    // added to the denominator; the paper's value
    private const float Epsilon = 1e-8f;

    private readonly float[] _mean = new float[parameters.Data.Length];
    private readonly float[] _square = new float[parameters.Data.Length];
    private int _steps;

    public void Step(Matrix gradient, double rate)
    {
        _steps++;
        // correct the bias of moments that started at zero
        float step = (float)(rate / (1 - Math.Pow(Beta1, _steps)));
        float correction = (float)(1 / (1 - Math.Pow(Beta2, _steps)));
        for (int i = 0; i < _mean.Length; i += Vector256<float>.Count)
        {
            var g = Vector256.Create(gradient.Data.AsSpan(i));
            var m = Vector256.Create(_mean.AsSpan(i));
            var v = Vector256.Create(_square.AsSpan(i));
            m += (g - m) * (1 - Beta1);
            v += (g * g - v) * (1 - Beta2);
            m.CopyTo(_mean, i);
            v.CopyTo(_square, i);
            Vector256<float> change = m * step / (Vector256.Sqrt(v * correction) + Vector256.Create(Epsilon));
            (Vector256.Create(parameters.Data.AsSpan(i)) - change).CopyTo(parameters.Data, i);
        }
    }
}
