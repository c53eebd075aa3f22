using System.Globalization;
using FedICU.Compute;
using FedICU.Text;

namespace FedICU.Clients;

/// <summary>
/// What the metadata of a client's momentum say: that it is one, its round, and the model of its last update.
/// </summary>
internal static class MomentumState
{
    private const string Kind = "momentum";

    /// <summary>Returns the metadata of a new momentum.</summary>
    /// <param name="digest">The digest of the received model.</param>
    /// <param name="round">The number of the round, if known.</param>
    public static Dictionary<string, string> Describe(string digest, long? round)
    {
        var metadata = new Dictionary<string, string>(StringComparer.Ordinal)
        {
            [MetadataKeys.State] = Kind,
            [MetadataKeys.Base] = digest,
        };
        if (round is { } number)
            metadata[MetadataKeys.Round] = number.ToString(CultureInfo.InvariantCulture);
        return metadata;
    }

    /// <summary>
    /// Returns the digest of the received model that a momentum of the present round was made against; null for a
    /// momentum of an earlier or unknown round, whose received model does not matter.
    /// </summary>
    /// <exception cref="InvalidModelException">The momentum is of a later round.</exception>
    public static string? RequiredBase(TensorSource momentum, long? round)
    {
        if (round is not { } present || RoundOf(momentum) is not { } kept || kept < present)
            return null;
        return kept == present
            ? momentum.Metadata.GetValueOrDefault(MetadataKeys.Base)
            : throw new InvalidModelException(
                $"'{momentum.Location}': the momentum is of round {kept}; one of a round before {present} was expected.");
    }

    /// <summary>Returns the number of the round that a model's metadata state; null if they state none.</summary>
    public static long? RoundOf(TensorSource source)
    {
        if (!source.Metadata.TryGetValue(MetadataKeys.Round, out string? text))
            return null;
        return long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long round)
            ? round
            : throw new InvalidModelException(
                $"'{source.Location}': metadata '{MetadataKeys.Round}' is '{text}'; a whole number was expected.");
    }

    /// <summary>
    /// Refuses a file that is no momentum: it would be averaged with the update without any sign of it. Values that the
    /// caller supplies, such as gradients, need not say what they are.
    /// </summary>
    public static void Check(TensorSource momentum, MomentumRule rule)
    {
        string? update = momentum.Metadata.GetValueOrDefault(MetadataKeys.Update);
        string? state = momentum.Metadata.GetValueOrDefault(MetadataKeys.State);
        if (update is not null and not "full")
        {
            throw new InvalidModelException(
                $"'{momentum.Location}': metadata '{MetadataKeys.Update}' is {Sentence.Quote(update)}, a client's update; " +
                "a momentum was expected.");
        }

        if (state != Kind && (state is not null || rule == MomentumRule.Ema))
        {
            throw new InvalidModelException(
                $"'{momentum.Location}': metadata '{MetadataKeys.State}' is {(state is null ? "missing" : Sentence.Quote(state))}; " +
                $"'{Kind}' was expected.");
        }
    }
}
