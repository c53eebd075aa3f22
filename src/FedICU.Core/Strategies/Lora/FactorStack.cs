using FedICU.Strategies.Abstractions;
using FedICU.Text;

namespace FedICU.Strategies.Lora;

/// <summary>Writes a weighted sum of products of LoRA factors exactly, as stacked factors.</summary>
internal static class FactorStack
{
    /// <summary>
    /// Writes A = [c s_0 A_0; w_k s_k A_k] / s below each other and B = [B_0, B_k] side by side, so that
    /// s B A = c s_0 B_0 A_0 + sum_k w_k s_k B_k A_k.
    /// </summary>
    /// <param name="pair">The pair; its written rank is the sum of the ranks.</param>
    /// <param name="weights">The clients' weights w_k.</param>
    /// <param name="ofGlobal">c, the global model's weight; null leaves its factors out.</param>
    public static void Write(PairContext pair, double[] weights, double? ofGlobal)
    {
        long row = 0;
        if (ofGlobal is { } factor)
        {
            double scaling = pair.Pair.Scaling ?? pair.LoraScaling ?? throw RoundPlan.Refuse(
                $"No configuration or alpha states the scaling of the global model's {Sentence.Quote(pair.Pair.Module)}; " +
                "an adapter folder or lora-scaling was expected.");
            pair.CopyGlobalA(factor * scaling / pair.Written.Scaling);
            row = pair.Pair.Rank;
        }

        for (int k = 0; k < pair.Clients; k++)
        {
            pair.CopyA(
                k, weights[k] * pair.Forms[k].Scaling / pair.Written.Scaling, PairContext.At(pair.OutputA, row * pair.Pair.Inputs));
            row += pair.Forms[k].Rank;
        }

        pair.StackColumnsOfB(withGlobal: ofGlobal is not null);
    }
}
