namespace FedICU;

/// <summary>Which model a round with <see cref="Ema"/> writes.</summary>
public enum EmaOutput
{
    /// <summary>The merged model; the average is in the state alone. The default.</summary>
    Model,
    /// <summary>The average.</summary>
    Ema,
}
