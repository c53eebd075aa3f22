namespace FedICU.Experiments;

/// <summary>Reports that a method's factors are not finite any more.</summary>
internal sealed class DivergedException(Exception? cause = null) : Exception(null, cause);
