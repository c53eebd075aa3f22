using System.Runtime.InteropServices;
using FedICU.TorchSharp;
using Spectre.Console;

namespace FedICU.Experiments;

/// <summary>The model that all methods of a seed start from, in a file.</summary>
internal static class PretrainedBase
{
    /// <summary>Trains a base and saves it with the encoding of its texts.</summary>
    public static Transformer Train(
        Corpus corpus, int steps, int seed, string path, ProgressContext progress, CancellationToken cancellationToken)
    {
        ProgressTask task = progress.AddTask($"training the base of seed {seed}", maxValue: steps);
        Transformer model = Transformer.Random(new Random(2 * seed - 1));
        Training.Pretrain(model, corpus.GeneralTrain, steps, 32, new Random(2 * seed), (step, bits) =>
        {
            task.Description = $"training the base, {bits:0.00} bits a token";
            task.Value = step;
        }, cancellationToken);
        using var held = new StateDictModel(model.Weights);
        int[] merges = [.. corpus.Encoding.Merges.SelectMany(pair => (int[])[pair.Left, pair.Right])];
        held.Model.Add("merges", [corpus.Encoding.Merges.Count, 2], merges);
        held.Model.SaveTo(TensorSink.ToFile(path), cancellationToken);
        return model;
    }

    /// <summary>Reads the encoding that was saved with a base.</summary>
    public static BytePair EncodingOf(string path)
    {
        using TensorSource source = TensorSource.Open(path);
        TensorInfo merges = source.Tensors.First(info => info.Name == "merges");
        int[] pairs = new int[merges.ElementCount];
        source.Read(merges, 0, MemoryMarshal.AsBytes(pairs.AsSpan()));
        return new BytePair([.. pairs.Chunk(2).Select(pair => (pair[0], pair[1]))]);
    }
}
