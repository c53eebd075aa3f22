namespace FedICU.Interop;

/// <summary>fedicu_fault of fedicu.h.</summary>
internal enum ClientFault
{
    Unreadable = 1,
    Weight = 2,
}
