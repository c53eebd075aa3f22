namespace FedICU.Panels;

/// <summary>Receives the progress of the passes over one tensor.</summary>
internal interface IPassProgress
{
    /// <summary>Begins a pass.</summary>
    /// <param name="pieces">The number of pieces of the pass.</param>
    /// <param name="last">Whether the tensor has no pass after this one.</param>
    void BeginPass(int pieces, bool last);

    /// <summary>Ends a piece of the pass.</summary>
    void EndPiece();
}
