namespace FedICU.Experiments;

/// <summary>Reports that a method's factors are not finite any more.</summary>
/// <param name="reason">What is not finite, as a sentence.</param>
/// <param name="cause">The library's exception, if it found it.</param>
internal sealed class DivergedException(string reason, Exception? cause = null) : Exception(reason, cause);
